"""Tables fit their terminal and cut nothing off."""

import re
from pathlib import Path

import pytest
from formula_search import a_search, settings_in
from rich.console import Console
from rich.table import Table

from tune.cluster.resources import Resources
from tune.results.best_trials import SearchResult, table
from tune.results.status import overview, read_status
from tune.study.naming import STUDY_FILE, search_folder
from tune.study.study import Study

NAME = "2026-11-29_01-12-07"
SETTINGS = {
    "learn_rate": 0.00123,
    "batch_size": 128,
    "loss": "cosine+0.1*infonce",
    "backbone": "dccuchile/bert-base-spanish-wwm-uncased",
}
WIDTHS = (60, 80, 120)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A search of long names and large numbers."""
    search = a_search(tmp_path, NAME, Resources())
    folder = search_folder(NAME, settings_in(tmp_path))
    study = Study(folder / STUDY_FILE, search.mode)
    for i in range(6):
        trial = study.add(SETTINGS)
        metrics = {"pairs_seen": 1_234_567, search.objective: 0.9 + i / 100}
        study.report(trial.number, metrics, search.objective)
        study.finish(trial.number, "COMPLETE" if i % 2 else "PRUNED")
    return folder


def printed(view: Table, columns: int) -> str:
    screen = Console(width=columns)
    with screen.capture() as shown:
        screen.print(view)
    lines = shown.get().splitlines()
    assert max(map(len, lines)) <= columns
    assert "…" not in shown.get()
    return shown.get()


@pytest.mark.parametrize("columns", WIDTHS)
def test_tables_of_status_fit_and_cut_nothing_off(folder: Path, columns: int) -> None:
    status = read_status(folder)
    text = "".join(printed(status.to_table(), columns).split())
    for word in ("1,234,567", "0.9500", "ased"):
        assert word in text
    assert "0.9500" in printed(overview([status], ["a-search-that-starts"]), columns)


@pytest.mark.parametrize(("columns", "n_shown"), [(60, 3), (80, 4), (120, 5)])
def test_a_narrow_terminal_shows_fewer_of_the_best(folder: Path, columns: int, n_shown: int) -> None:
    status = read_status(folder)
    top = tuple(status.study.ranked()[:5])
    result = SearchResult(
        folder,
        status.search.objective,
        status.study.mode,
        counts={},
        best=top[0],
        slots=1,
        busy=1.0,
        seconds=1.0,
        top=top,
        num_samples=6,
        is_whole=True,
    )
    text = printed(table(result, SETTINGS, columns), columns)
    for rank, trial in enumerate(top):
        assert (f"{trial.best('max'):.4f}" in text) == (rank < n_shown)
    assert text.count("1,234,567") == n_shown
    lines = [line.rstrip() for line in text.splitlines()]
    for word in (status.search.objective, *SETTINGS):  # labels stay whole
        assert any(re.match(rf" +{word}( |$)", line) for line in lines)
    for word in ("cosine+", "0.1*", "infonce", "spanish-", "uncased"):  # so do words of values
        assert text.count(word) == n_shown
    assert (f"{5 - n_shown} more in a wider terminal and in trials.csv" in text) == (n_shown < 5)
