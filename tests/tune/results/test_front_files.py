"""The front of a search: its files, its table and its figure, from records on disk."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from browser import opened
from recorded_search import record, searched_by, text_of
from rich.console import Console
from rich.table import Table

from themo.cli.main import main
from themo.config.settings import load
from tune.results.best_trials import SearchResult, table
from tune.results.front import front_as_json, front_in_words, settings_file, write_front
from tune.results.report.front_figure import quality_against_cost
from tune.results.report.page import write_report
from tune.results.report.trial_rows import trial_table
from tune.results.status import read_status
from tune.results.trial_table import TRIALS_FILE, TrialTable
from tune.study.front import front_of
from tune.study.search import Search
from tune.study.study import Study

FRONT = [2, 5, 8, 10]
"""Trials of the record below that no other dominates, by cost."""


@pytest.fixture
def finished(tmp_path: Path) -> tuple[Search, Path, Study]:
    """Trials whose objective rises with their number: those in `FRONT` cost less than all better ones."""
    search, folder = record(tmp_path / "logs")
    search = searched_by(search, folder, num_samples=12, second_objective="mb", grace_pairs=100)
    study = Study.read(folder / "study.json")
    for trial in study:
        if trial.values:
            trial.metrics["cost/mb"] = 1.0 + trial.number / 10 if trial.number in FRONT else 9.0
    study.save()
    return search, folder, study


def result_of(search: Search, study: Study) -> SearchResult:
    """The result of a finished search."""
    top = tuple(study.ranked()[:5])
    return SearchResult(
        search.folder,
        search.objective,
        search.mode,
        counts=study.counts(),
        best=top[0],
        slots=1,
        busy=1.0,
        seconds=1.0,
        top=top,
        num_samples=len(study),
        is_whole=True,
        search=search.space.search,
    )


def test_front_files_are_those_of_the_front(finished: tuple[Search, Path, Study]) -> None:
    search, folder, study = finished
    assert [trial.number for trial in front_of(study)] == FRONT
    write_front(search, study)
    files = sorted((folder / "front").iterdir())
    assert files == [settings_file(folder, number) for number in FRONT]
    for path, number in zip(files, FRONT, strict=True):
        assert load(config=path) == search.settings.override(study[number].params)
    study[2].metrics["cost/mb"] = 99.0
    write_front(search, study)
    assert sorted((folder / "front").iterdir()) == files[1:]


def test_tables_of_trials_show_the_cost(finished: tuple[Search, Path, Study]) -> None:
    search, folder, study = finished
    columns = {column.header: list(column.cells) for column in read_status(folder).to_table().columns}
    assert columns["MB"][columns["trial"].index("10")] == "2"
    console = Console(width=100, file=io.StringIO(), record=True)
    console.print(table(result_of(search, study), search.space.dimensions))
    lines = console.export_text().splitlines()
    cells = {words[0]: words[1:] for line in lines if (words := line.split())}
    assert cells["MB"][cells["trial"].index("10")] == "2"


def test_tables_of_a_search_in_seconds_show_seconds(finished: tuple[Search, Path, Study]) -> None:
    search, folder, _ = finished
    study = Study.read(folder / "study.json")
    rules = {"resource": "seconds", "trial_seconds": 60, "grace_share": 0.1, "grace_pairs": None}
    search = searched_by(search, folder, **rules)
    for trial in study:
        trial.metrics["training_seconds"] = 2.5 + trial.number
    study.save()
    front = next(front_in_words(search, study, folder))
    assert isinstance(front, Table)
    for view, heading in ((read_status(folder).to_table(), "seconds"), (front, "seconds")):
        columns = {column.header: list(column.cells) for column in view.columns}
        assert columns[heading][columns["trial"].index("10")] == "12.5"
    best = table(result_of(search, study), search.space.dimensions)
    rows = dict(zip(best.columns[0].cells, best.columns[1].cells, strict=True))
    assert (best.columns[1].header, rows["seconds"]) == ("10", "12.5")


def test_the_table_names_a_command(finished: tuple[Search, Path, Study]) -> None:
    search, folder, study = finished

    def printed() -> str:
        console = Console(width=100, file=io.StringIO(), record=True)
        for part in front_in_words(search, study, folder):
            console.print(part, soft_wrap=isinstance(part, str))
        return " ".join(console.export_text().split())

    assert "train --config" not in printed()
    write_front(search, study)
    assert "Train to its end trial 2, of least MB: python -m themo train --config" in printed()
    assert printed().endswith("front/trial-0002.yaml")
    assert f"{study[2].pairs_seen:,} pruned" in printed()
    for number in FRONT[:-1]:
        study[number].metrics["cost/mb"] = 99.0
    assert "Train" not in printed()  # the winner alone is on the front, and its student is there


def test_the_front_as_json_has_both_objectives(finished: tuple[Search, Path, Study]) -> None:
    search, _, study = finished
    found = front_as_json(search, study)
    assert found["second_objective"] == "mb"
    assert [entry["trial"] for entry in found["front"]] == FRONT
    first = study[2]
    assert found["front"][0] == {
        "trial": 2,
        "objective": first.best("max"),
        "cost": 1.2,
        "state": first.state,
        "pairs_seen": first.pairs_seen,
        "settings": first.params,
    }


def test_one_objective_has_no_front(tmp_path: Path) -> None:
    search, folder = record(tmp_path / "logs")
    search, study = searched_by(search, folder, num_samples=12), Study.read(folder / "study.json")
    write_front(search, study)
    assert not (folder / "front").exists()
    assert front_as_json(search, study) == {}
    assert not list(front_in_words(search, study, folder))
    assert "Quality against cost" not in text_of(write_report(search, folder))


def test_the_report_shows_the_front(finished: tuple[Search, Path, Study]) -> None:
    search, folder, study = finished
    write_front(search, study)
    text = text_of(write_report(search, folder))
    assert "Quality against cost" in text
    assert "python -m themo train --config logs/tune/mine/front/trial-0002.yaml" in text
    assert "MO-ASHA" in text
    figure = quality_against_cost(study, study.winner(), front_of(study), "val/match@01", "mb")
    assert list(figure.data[0].x) == [study[number].cost for number in FRONT]
    shown = [text for trace in figure.data[1:] for text in trace.text]
    assert len(shown) == 11  # one diverged before a report
    assert any("trial 10" in text and "2 MB" in text for text in shown)


def test_tables_have_a_column_of_the_cost(finished: tuple[Search, Path, Study]) -> None:
    search, folder, study = finished
    table = trial_table(study, study.winner(), [], "val/match@01", at_rest=True, second="mb")
    at = [column.name for column in table.columns].index("MB")
    cells = {row.number: row.cells[at] for row in table.rows}
    assert (cells[2].text, cells[2].key) == ("1.2", 1.2)
    assert (cells[1].text, cells[1].key) == ("", None)
    TrialTable(study, search.space, folder).write()
    with (folder / TRIALS_FILE).open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [rows[number]["cost/mb"] for number in (1, 2)] == ["", "1.2"]


def test_status_and_why_speak_of_the_front(
    finished: tuple[Search, Path, Study], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logs = ["--logs-dir", str(tmp_path / "logs")]
    assert main(["status", "mine", *logs]) == 0
    assert "Front: no trial is better than these in one objective" in capsys.readouterr().out
    assert main(["status", "mine", "--json", *logs]) == 0
    assert [entry["trial"] for entry in json.loads(capsys.readouterr().out)["front"]] == FRONT
    assert main(["why", "mine", "6", *logs]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "MB, front" in said
    assert "trial 2 0.0150, 1.2 MB (front 1)" in said


def test_a_comparison_takes_searches_of_two_objectives(
    finished: tuple[Search, Path, Study], tmp_path: Path
) -> None:
    record(tmp_path / "logs", n=6, name="second")
    assert main(["report", "mine", "second", "--logs-dir", str(tmp_path / "logs")]) == 0
    text = text_of(tmp_path / "logs" / "tune" / "mine" / "report-beside-second.html")
    assert "search: second_objective mb null" in text


@pytest.mark.slow
@pytest.mark.parametrize("width", [1240, 420])
def test_the_front_in_a_browser(finished: tuple[Search, Path, Study], width: int) -> None:
    search, folder, study = finished
    write_front(search, study)
    path = write_report(search, folder)
    with opened(path, width=width) as seen:
        assert seen.drawn()["front"] >= 11  # the trials with a report
        assert not [labels for labels in seen.overlaps() if labels.startswith("figure-front")]
        assert (seen.errors, seen.requests) == ([], [path.as_uri()])
