"""The comparison of searches on recorded curves, on the curves that the repository holds."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from benchmarks import cached_results, plots
from benchmarks.measure import Options, Row
from benchmarks.searches import comparison
from benchmarks.searches.calibration import held_ends, held_ends_in_searches
from benchmarks.searches.comparison import BUDGET, OURS, TABLES, Task, collect, draw
from benchmarks.searches.curves import read
from benchmarks.searches.left_out import Errors, errors_of, reach_row
from benchmarks.searches.replay import Oracle, Replay, oracle_of


@pytest.fixture(scope="module")
def miniature() -> Oracle:
    return oracle_of(read(TABLES / "miniature.parquet"))


def test_searches_are_replayed_once(
    miniature: Oracle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "bench" / "searches.jsonl"
    tasks = [Task("miniature", slots, "Themo: tpe, asha", seed) for slots in (1, 4) for seed in (0, 1)]
    replays = collect(tasks, {"miniature": miniature}, kept)
    for replayed in replays.values():
        reached = replayed.bests[-1] >= miniature.bar
        assert reached or replayed.pairs[-1] >= BUDGET * miniature.whole
        assert replayed.bests == sorted(replayed.bests)
    with kept.open("a") as file:
        file.write('{"task": {"ta')  # as a killed benchmark may
    monkeypatch.setattr(comparison, "play", None)
    assert collect(tasks, {"miniature": miniature}, kept) == replays
    rows = list(comparison._rows("miniature", miniature, replays))
    assert [row.name for row in rows] == [
        "miniature, 1 slot, the best less an error: Themo: tpe, asha",
        "miniature, 4 slots, the best less an error: Themo: tpe, asha",
    ]
    assert all(row.figure is not None and row.figure > 0 and row.seeds == (0, 1) for row in rows)
    assert all("; upper median and quartiles; " in row.detail for row in rows)
    draw(replays, {"miniature": miniature}, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_replays_of_changed_curves_are_replaced(
    miniature: Oracle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = []

    def play(task: Task, oracle: Oracle) -> Replay:
        tables.append(oracle)
        return Replay([8], [oracle.firsts[0].best], [1.0], 1, 0, "aaaaaaa")

    monkeypatch.setattr(comparison, "play", play)
    task, kept = Task("miniature", 1, "random", 0), tmp_path / "kept.jsonl"
    cached_results.append(kept, {"task": asdict(task) | {"n_curves": 9}})  # as earlier commits wrote
    changed = oracle_of([replace(miniature.firsts[0], params={}), *miniature.firsts[1:]])
    for oracle in (miniature, changed, miniature, oracle_of(miniature.firsts)):
        replays = collect([task], {"miniature": oracle}, kept)
    assert tables == [miniature, changed]
    details = [row.detail for row in comparison._rows("miniature", miniature, replays)]
    assert all(detail.endswith("; cached results of other commits: aaaaaaa (1)") for detail in details)


@pytest.mark.parametrize("publish", [False, True])
def test_plot_is_published_on_request(publish: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for row in ("error_row", "reach_row", "held_ends", "held_ends_in_searches"):
        monkeypatch.setattr(comparison, row, lambda *_: Row("x", None, ""))
    monkeypatch.setattr(comparison, "METHODS", {"random": comparison.METHODS["random"]})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    published = tmp_path / "docs" / "searches-on-curves.png"
    published.write_text("ten seeds")
    comparison.run(Options(search_seeds=[0], worlds=["miniature"], publish=publish))
    assert published.read_bytes().startswith(b"\x89PNG" if publish else b"ten seeds")
    assert (tmp_path / "logs" / "bench" / "searches-on-curves.png").exists() is not publish
    assert list(published.parent.iterdir()) == [published]


def test_plot_that_cannot_be_drawn_leaves_the_old_one(tmp_path: Path) -> None:
    old = tmp_path / "a.png"
    old.write_text("old")
    figure = Figure()
    figure.suptitle(r"$\no-such-symbol$")
    with pytest.raises(ValueError, match="no-such-symbol"):
        plots.save(figure, old)
    assert old.read_text() == "old"
    assert list(tmp_path.iterdir()) == [old]


def test_a_second_bar_is_the_median_of_random_search(miniature: Oracle) -> None:
    bests = {0: 0.5, 1: 0.75, 2: 0.25}
    replays = {
        Task("miniature", 1, method, seed): Replay([seed + 1], [best])
        for method in ("random", "optuna-median")
        for seed, best in bests.items()
    }
    rows = {row.name: row for row in comparison._rows("miniature", miniature, replays)}
    row = rows["miniature, 1 slot, as random search: optuna-median"]
    assert "reached 67% of 3 seeds" in row.detail
    assert "target 0.5000, median best 0.500" in row.detail
    assert row.figure == 2 / miniature.whole  # 1, 2 and never


@pytest.mark.slow
@pytest.mark.parametrize("method", OURS)
def test_our_searches_spend_their_budget(miniature: Oracle, method: str, tmp_path: Path) -> None:
    task = Task("miniature", 1, method, 0)
    replayed = collect([task], {"miniature": miniature}, tmp_path / "kept.jsonl")[task]
    assert replayed.winner is not None
    assert replayed.n_trials > 2


def test_forecasts_of_recorded_curves_are_counted(miniature: Oracle) -> None:
    row = held_ends("miniature", miniature, rounds=2)
    assert row.figure is not None
    assert 0.5 < row.figure <= 1
    assert "forecasts of" in row.detail


def test_forecasts_within_searches_are_counted(miniature: Oracle) -> None:
    row = held_ends_in_searches("miniature", miniature, rounds=2)
    assert row.figure is not None
    assert 0.5 < row.figure <= 1
    assert "in 2 searches" in row.detail
    assert "best unfinished trials" in row.detail


def test_the_surrogate_is_judged_by_settings_left_out(miniature: Oracle) -> None:
    errors = errors_of(miniature, folds=5)
    assert len(errors.recorded) == sum(curve.is_whole for curve in miniature.firsts)
    fitted = [miniature.predicted(curve.params).best for curve in miniature.firsts if curve.is_whole]
    np.testing.assert_allclose(fitted, errors.recorded, atol=1e-6)  # a known setting has its own curve
    assert errors.absolute.mean() > 0.01
    assert errors.explained < 1
    perfect = Errors(errors.recorded, errors.recorded)
    assert (perfect.explained, perfect.absolute.max()) == (1, 0)


def test_the_surrogate_promises_no_more_than_was_recorded(miniature: Oracle) -> None:
    row = reach_row("miniature", miniature, n=20)
    assert row.figure is not None
    assert 0 < row.figure <= max(curve.best for curve in miniature.firsts)
    n_above = sum(curve.best >= miniature.bar for curve in miniature.firsts)
    assert f"20 uniform draws and {n_above} of {len(miniature.firsts)} recorded settings" in row.detail
