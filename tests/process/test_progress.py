import io
import time

import pytest
from rich.console import Console

from themo.process import progress
from themo.process.progress import silence, track


def test_lines_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    with track("Tokens of Spanish", 3000, "texts") as advance:
        advance(1000, note="loss 0.5")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Tokens of Spanish: 1,000 of 3,000 texts, ")
    assert err.endswith("/s, loss 0.5\n")


def test_earlier_work_counts_in_lines_but_not_in_the_rate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    seconds = iter((10.0, 12.0))
    monkeypatch.setattr(time, "monotonic", lambda: next(seconds))
    with track("Training", 200, "pairs", before=150) as advance:
        advance(20)
    assert capsys.readouterr().err == "Training: 170 of 200 pairs, 10/s\n"


def test_slow_units_show_their_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    seconds = iter((10.0, 200.0))
    monkeypatch.setattr(time, "monotonic", lambda: next(seconds))
    with track("Recording", 7, "trainings") as advance:
        advance(2)
    assert capsys.readouterr().err == "Recording: 2 of 7 trainings, 95.0 s each\n"


def test_few_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with track("Work", 1000, "texts") as advance:
        for _ in range(1000):
            advance(1)
    assert capsys.readouterr().err.count("\n") <= 1


def test_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(progress, "console", Console(file=screen, force_terminal=True, width=120))
    with track("Training", 200, "pairs", before=50) as advance:
        advance(100, note="loss 0.25")
    shown = screen.getvalue()
    assert "Training" in shown
    assert "150/200" in shown
    assert "pairs" in shown
    assert "loss 0.25" in shown


def test_errors_pass_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "console", Console(file=io.StringIO(), force_terminal=True))
    with pytest.raises(KeyError, match="x"), track("Training", 1, "pairs"):
        raise KeyError("x")


def test_silence_ends_with_its_block(capsys: pytest.CaptureFixture[str]) -> None:
    @silence()
    def fail() -> None:
        progress.console.print("unheard")
        raise KeyError("x")

    for _ in range(2):  # it can be used again
        with pytest.raises(KeyError):
            fail()
    progress.console.print("heard")
    assert capsys.readouterr().err == "heard\n"
