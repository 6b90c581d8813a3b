from __future__ import annotations

import io
import re
import signal
import time
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from themo.config.settings import Settings, load
from tune.cluster.resources import Resources
from tune.results import live, running_trials
from tune.results.live import LiveView
from tune.schedulers.explanation import Forecast
from tune.schedulers.rules import Never
from tune.schedulers.rungs import Interval
from tune.space.dimensions import FloatRange
from tune.space.search_settings import SearchSettings
from tune.space.search_space import Space
from tune.study.search import Search
from tune.study.study import Study


def search_of(base: Settings | None = None, **rules: Any) -> Search:
    """A search of eight trials."""
    search = SearchSettings(**{"num_samples": 8, "grace_pairs": 100, **rules})
    space = Space({"learn_rate": FloatRange(1e-4, 1e-2)}, search=search)
    settings = (base or load()).override({"objective": "val/match@01"})
    return Search("mine", "uid", space, settings, Resources())


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
    view = LiveView(study, search_of(), lambda: 2)
    view.setup()
    running = [
        SimpleNamespace(status=status, config={"number": number})
        for number, status in ((3, "RUNNING"), (1, "TERMINATED"))
    ]
    view.on_step_end(trials=running)
    assert capsys.readouterr().err == ""  # ten seconds have not gone by
    monkeypatch.setattr(live, "SECONDS_BETWEEN_LINES", 0.0)
    view.on_step_end(trials=running)
    view.close()
    captured = capsys.readouterr()
    assert captured.err == (
        "3 of 8 trials done, 1 completed, 1 pruned, 1 failed, 1 of 2 slots busy; "
        "best val/match@01 0.7000 in trial 1: learn_rate=0.00123 loss=mse\n"
    )
    assert captured.out == ""


def test_paused_and_started_trials_are_counted(study, monkeypatch, capsys):
    monkeypatch.setattr(live, "console", Console(stderr=True, highlight=False, force_terminal=False))
    monkeypatch.setattr(live, "SECONDS_BETWEEN_LINES", 0.0)
    study[3].state = "PAUSED"
    LiveView(study, search_of(), lambda: 2).on_step_end(trials=[])
    counts = "3 of 8 trials done, 4 started, 1 completed, 1 pruned, 1 failed, 1 paused, 0 of 2 slots busy"
    assert counts in capsys.readouterr().err


def test_a_trial_that_failed_is_not_the_best(study, monkeypatch, capsys):
    monkeypatch.setattr(live, "console", Console(stderr=True, highlight=False, force_terminal=False))
    monkeypatch.setattr(live, "SECONDS_BETWEEN_LINES", 0.0)
    study.report(2, {"pairs_seen": 50, "o": 0.9}, "o")
    LiveView(study, search_of(), lambda: 2).on_step_end(trials=[])
    assert "best val/match@01 0.7000 in trial 1: " in capsys.readouterr().err


def test_a_long_plain_line_leaves_the_settings_out(study, monkeypatch, capsys):
    monkeypatch.setattr(live, "console", Console(stderr=True, highlight=False, force_terminal=False))
    monkeypatch.setattr(live, "SECONDS_BETWEEN_LINES", 0.0)
    study.report(study.add({f"setting_{i}": i for i in range(30)}).number, {"pairs_seen": 1, "o": 0.9}, "o")
    LiveView(study, search_of(), lambda: 2).on_step_end(trials=[])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("; best val/match@01 0.9000 in trial 4, not saved yet")


SETTINGS = {
    "learn_rate": 0.00123456,
    "weight_decay": 0.0123,
    "warmup_share": 0.05,
    "batch_size": 192,
    "loss": "mse+infonce",
    "temperature": 0.0712,
    "pooling": "mean",
    "schedule": "cosine",
    "dropout": 0.1,
    "projection_bias": True,
}
"""Ten settings, as many as a search of the miniature has."""


def shown(
    study: Study,
    running: list[int],
    monkeypatch: pytest.MonkeyPatch,
    search: Search | None = None,
    height: int = 40,
) -> list[str]:
    """The lines of a frame on a terminal of 80 columns, without trailing blanks."""
    screen = io.StringIO()
    wide = Console(
        file=screen, force_terminal=True, width=80, height=height, soft_wrap=True, color_system=None
    )
    monkeypatch.setattr(live, "console", wide)
    monkeypatch.setattr(live, "_SECONDS_BETWEEN_FRAMES", 0.0)
    view_of = LiveView(study, search or search_of(), lambda: 2)
    trials = [SimpleNamespace(status="RUNNING", config={"number": number}) for number in running]
    view_of.on_step_end(trials=trials)
    view_of.close()
    screen.seek(0)
    screen.truncate()
    wide.print(view_of._frame())
    lines = [re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", line).rstrip() for line in screen.getvalue().splitlines()]
    assert all(len(line) <= 80 for line in lines)
    assert len(lines) < height
    return lines


@pytest.fixture
def two_running() -> Study:
    study = Study(None, "max")
    for number, (pairs, value) in enumerate([(20_000, 0.9), (8_192, 0.43), (12_288, 0.6)]):
        params = SETTINGS | {"learn_rate": 0.001 * (number + 1), "pooling": ("mean", "mean", "first")[number]}
        trial = study.add(params)
        study.report(number, {"pairs_seen": pairs, "o": value}, "o")
        trial.gpus, trial.machine = 0.0, "here"
    study.finish(0, "COMPLETE")
    return study


def test_each_running_trial_has_a_row_of_80_columns(two_running, monkeypatch):
    lines = shown(two_running, [2, 1], monkeypatch)
    assert lines[1:] == [
        "1 of 8 trials done, 1 completed, 0 pruned, 0 failed, 2 of 2 slots busy",
        "best val/match@01 0.9000 in trial 0: learn_rate=0.001 weight_decay=0.0123",
        "warmup_share=0.05 batch_size=192 loss=mse+infonce temperature=0.0712",
        "pooling=mean schedule=cosine dropout=0.1 projection_bias=True",
        "trial   pairs  objective  device  settings that differ",
        "    1   8,192     0.4300     CPU  learn_rate=0.002 pooling=mean",
        "    2  12,288     0.6000     CPU  learn_rate=0.003 pooling=first",
    ]


def test_a_forecast_machine_and_share_get_their_place(two_running, settings, monkeypatch):
    for number, machine in ((1, "node-1"), (2, "node-2")):
        two_running[number].machine, two_running[number].gpus = machine, 1.0 if number == 1 else 0.5
        two_running[number].metrics["epoch"] = settings.training.epochs / 4

    class Prophet(Never):
        def forecast(self, _: Study, number: int) -> Forecast | None:
            return Forecast(0.93, 0.9, 0.95) if number == 2 else None

    monkeypatch.setattr(running_trials, "scheduler_of", lambda *_: Prophet(Interval(100)))
    for trial in two_running:
        trial.params = {"learn_rate": trial.params["learn_rate"]}
    lines = shown(two_running, [1, 2], monkeypatch, search_of(settings))
    assert lines[-5:] == [
        "trial        pairs  objective           forecast          device",
        "    1   8,192 25 %     0.4300                         GPU node-1",
        "    learn_rate=0.002",
        "    2  12,288 25 %     0.6000  0.930 0.900–0.950  0.5 GPU node-2",
        "    learn_rate=0.003",
    ]


def test_seconds_are_shown_where_they_are_the_resource(two_running, monkeypatch):
    for trial, seconds in zip(two_running, (9.0, 3.25, 120.4), strict=True):
        trial.metrics |= {"training_seconds": seconds, "epoch": 0.5}
    base = load().override({"warmup_steps": 0, "epochs": 100.0})
    search = search_of(base, resource="seconds", trial_seconds=240, grace_share=0.1, grace_pairs=None)
    for trial in two_running:
        trial.params = {"learn_rate": 0.001 * (1 + trial.number)}
    lines = shown(two_running, [1, 2], monkeypatch, search)
    assert lines[-3:] == [
        "trial   seconds  objective  device  settings that differ",
        "    1  3.25 1 %     0.4300     CPU  learn_rate=0.002",
        "    2  120 50 %     0.6000     CPU  learn_rate=0.003",
    ]


def test_many_settings_wrap_and_many_trials_are_cut(monkeypatch):
    study = Study(None, "max")
    for number in range(30):
        study.add({name: f"{value}-{number}" for name, value in SETTINGS.items()})
    few = shown(study, [0, 1], monkeypatch)
    settings_shown = " ".join(" ".join(few).split())
    assert all(f"{name}={value}-1" in settings_shown for name, value in SETTINGS.items())
    many = shown(study, list(range(30)), monkeypatch, height=24)
    assert len(many) == 23  # and the cursor's line
    rows = many[many.index("trial  pairs  objective  device  settings that differ") + 1 : -1]
    assert [line.split()[0] for line in rows] == [str(number) for number in range(len(rows))]
    assert all(line.endswith("…") for line in rows)
    assert many[-1] == f"and {30 - len(rows)} more"


def test_on_a_terminal_one_view_that_goes_away(study, monkeypatch, capsys):
    monkeypatch.setattr(live, "console", Console(stderr=True, force_terminal=True, width=120))
    monkeypatch.setattr(live, "_SECONDS_BETWEEN_FRAMES", 0.0)
    view = LiveView(study, search_of(), lambda: 2)
    view.setup()
    view.on_step_end(trials=[])
    view.close()
    captured = capsys.readouterr()
    assert "3 of 8 trials done" in captured.err
    assert captured.out == ""


def test_time_left_is_shown_once_known(study):
    view = LiveView(study, search_of(), lambda: 2)
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
        view = LiveView(study, search_of(), lambda: 2)
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
