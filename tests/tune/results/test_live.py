from __future__ import annotations

import io
import signal
import time
from types import SimpleNamespace

import pytest
from rich.console import Console

from tune.results import live
from tune.results.live import LiveView
from tune.study.study import Study


@pytest.fixture
def study() -> Study:
    study = Study(None, "max")
    for value, state in [(0.2, "PRUNED"), (0.7, "COMPLETE"), (None, "FAIL"), (0.5, "RUNNING")]:
        number = study.add({"learn_rate": 0.00123456, "loss": "mse"}).number
        if value is not None:
            study.report(number, {"pairs_seen": 100, "o": value}, "o")
        if state != "RUNNING":
            study.finish(number, state)
    return study


def test_elsewhere_than_on_a_terminal_a_plain_line_now_and_then(study, monkeypatch, capsys):
    monkeypatch.setattr(live, "console", Console(stderr=True, highlight=False, force_terminal=False))
    view = LiveView(study, total=8, n_trusted=0, slots=lambda: 2, objective="val/match@01")
    view.setup()
    running = [SimpleNamespace(status="RUNNING"), SimpleNamespace(status="TERMINATED")]
    view.on_step_end(trials=running)
    assert capsys.readouterr().err == ""  # ten seconds have not gone by
    monkeypatch.setattr(live, "SECONDS_BETWEEN_LINES", 0.0)
    view.on_step_end(trials=running)
    view.close()
    captured = capsys.readouterr()
    assert captured.err == (
        "3 of 8 trials done, 1 completed, 1 stopped early, 1 failed, 1 of 2 slots busy; "
        "best val/match@01 0.7000 in trial 1: learn_rate=0.00123 loss=mse\n"
    )
    assert captured.out == ""


def test_a_trial_that_failed_is_not_the_best(study, monkeypatch, capsys):
    monkeypatch.setattr(live, "console", Console(stderr=True, highlight=False, force_terminal=False))
    monkeypatch.setattr(live, "SECONDS_BETWEEN_LINES", 0.0)
    study.report(2, {"pairs_seen": 50, "o": 0.9}, "o")
    LiveView(study, total=8, n_trusted=0, slots=lambda: 2, objective="o").on_step_end(trials=[])
    assert "best o 0.7000 in trial 1: " in capsys.readouterr().err


def test_a_plain_line_is_cut_where_it_would_fill_the_screen(study, monkeypatch, capsys):
    monkeypatch.setattr(live, "console", Console(stderr=True, highlight=False, force_terminal=False))
    monkeypatch.setattr(live, "SECONDS_BETWEEN_LINES", 0.0)
    study.report(study.add({f"setting_{i}": i for i in range(30)}).number, {"pairs_seen": 1, "o": 0.9}, "o")
    LiveView(study, total=8, n_trusted=0, slots=lambda: 2, objective="val/match@01").on_step_end(trials=[])
    (line,) = capsys.readouterr().err.splitlines()
    assert len(line) == 160
    assert line.endswith("…")
    assert "; best val/match@01 0.9000 in trial 4, not saved yet: setting_0=0 setting_1=1 " in line


def test_the_terminal_view_has_three_lines(study, monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(live, "console", Console(file=screen, force_terminal=True, width=80))
    study.report(study.add({f"setting_{i}": i for i in range(30)}).number, {"pairs_seen": 1, "o": 0.9}, "o")
    live.console.print(
        LiveView(study, total=8, n_trusted=0, slots=lambda: 2, objective="val/match@01")._frame()
    )
    assert len(screen.getvalue().splitlines()) == 3


def test_on_a_terminal_one_view_that_goes_away(study, monkeypatch, capsys):
    monkeypatch.setattr(live, "console", Console(stderr=True, force_terminal=True, width=120))
    monkeypatch.setattr(live, "_SECONDS_BETWEEN_FRAMES", 0.0)
    view = LiveView(study, total=8, n_trusted=0, slots=lambda: 2, objective="val/match@01")
    view.setup()
    view.on_step_end(trials=[])
    view.close()
    captured = capsys.readouterr()
    assert "3 of 8 trials done" in captured.err
    assert captured.out == ""


def test_time_left_is_shown_once_known(study):
    view = LiveView(study, total=8, n_trusted=0, slots=lambda: 2, objective="o")
    assert " left" not in view._progress()
    for trial in study:
        trial.seconds = 60.0
    assert view._progress().endswith(", about 2 min left")


def test_ctrl_c_is_answered_and_reaches_ray(study, monkeypatch):
    said = io.StringIO()
    monkeypatch.setattr(live, "console", Console(file=said))
    rays: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: rays.append(number))
    try:
        view = LiveView(study, total=8, n_trusted=0, slots=lambda: 2, objective="o")
        view.setup()
        signal.raise_signal(signal.SIGINT)
        while "Stopping: " not in said.getvalue():
            time.sleep(0.01)
        view.close()
        signal.raise_signal(signal.SIGINT)
        assert rays == [signal.SIGINT] * 2
        assert said.getvalue().count("Stopping") == 1
    finally:
        signal.signal(signal.SIGINT, before)
