"""The comparison of searches on recorded curves, on the curves that the repository holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.searches import comparison
from benchmarks.searches.calibration import held_ends
from benchmarks.searches.comparison import BUDGET, OURS, TABLES, Task, collect, draw
from benchmarks.searches.curves import read
from benchmarks.searches.peers.__main__ import oracle_of
from benchmarks.searches.replay import Oracle


@pytest.fixture(scope="module")
def miniature() -> Oracle:
    return oracle_of(read(TABLES / "miniature.parquet"))


def test_courses_are_replayed_once(
    miniature: Oracle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "bench" / "searches.jsonl"
    n_curves = len(miniature.firsts)
    tasks = [
        Task("miniature", slots, "Themo: tpe, asha", seed, n_curves) for slots in (1, 4) for seed in (0, 1)
    ]
    courses = collect(tasks, {"miniature": miniature}, kept)
    for course in courses.values():
        reached = course.bests[-1] >= miniature.bar
        assert reached or course.pairs[-1] >= BUDGET * miniature.whole
        assert course.bests == sorted(course.bests)
    monkeypatch.setattr(comparison, "play", None)
    assert collect(tasks, {}, kept) == courses
    rows = list(comparison._rows("miniature", miniature, courses))
    assert [row.name for row in rows] == [
        "miniature, 1 slot: Themo: tpe, asha",
        "miniature, 4 slots: Themo: tpe, asha",
    ]
    assert all(row.figure is not None and row.figure > 0 and row.seeds == (0, 1) for row in rows)
    draw(courses, {"miniature": miniature}, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.parametrize("method", OURS)
def test_our_searches_spend_their_budget(miniature: Oracle, method: str, tmp_path: Path) -> None:
    task = Task("miniature", 1, method, 0, len(miniature.firsts))
    course = collect([task], {"miniature": miniature}, tmp_path / "kept.jsonl")[task]
    assert course.winner is not None
    assert course.n_trials > 2


def test_forecasts_of_recorded_curves_are_counted(miniature: Oracle) -> None:
    row = held_ends("miniature", miniature, rounds=2)
    assert row.figure is not None
    assert 0.5 < row.figure <= 1
    assert "forecasts of" in row.detail
