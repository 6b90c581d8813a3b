"""The table of all trials."""

from __future__ import annotations

from pathlib import Path

from recorded_search import record

from tune.results.report.trial_rows import TrialTable, trial_table
from tune.study.study import Study

NAMES = ["learn_rate", "batch_size"]


def table_of(logs_dir: Path, n: int = 12, running: int = 0, at_rest: bool = True) -> tuple[Study, TrialTable]:
    _, folder = record(logs_dir, n=n, running=running)
    study = Study.read(folder / "study.json")
    study[2].why = "0.0150 at the rung of 100 pairs, rank 2 of 3"
    return study, trial_table(study, study.winner(), NAMES, "val/match@01", at_rest)


def column(table: TrialTable, name: str) -> dict[int, str]:
    at = [column.name for column in table.columns].index(name)
    return {row.number: row.cells[at].text for row in table.rows}


def test_every_trial_has_a_row_the_best_first(tmp_path: Path) -> None:
    study, table = table_of(tmp_path, n=300)
    assert sorted(row.number for row in table.rows) == list(range(300))
    ranked = [trial.number for trial in study.ranked()]
    assert [row.number for row in table.rows][: len(ranked)] == ranked
    assert [row.number for row in table.rows if row.is_best] == [ranked[0]]
    (sorted_by,) = [column for column in table.columns if column.sorted]
    assert (sorted_by.name, sorted_by.sorted) == ("val/match@01", "descending")


def test_rows_say_state_score_pairs_settings_and_why(tmp_path: Path) -> None:
    _, table = table_of(tmp_path)
    assert column(table, "state")[10] == "completed"
    assert column(table, "val/match@01")[10] == "0.4950"
    assert column(table, "pairs")[10] == "900"
    assert column(table, "batch_size")[10] == "64"
    why = column(table, "why")
    assert (why[10], why[1]) == ("", "diverged: loss is nan <at once>")
    assert why[2] == "0.0150 at the rung of 100 pairs, rank 2 of 3"


def test_a_trial_without_report_sorts_last(tmp_path: Path) -> None:
    _, table = table_of(tmp_path)
    at = [column.name for column in table.columns].index("val/match@01")
    assert table.rows[-1].number == 1
    assert table.rows[-1].cells[at].key is None


def test_running_trials_are_interrupted_at_rest(tmp_path: Path) -> None:
    _, table = table_of(tmp_path / "a", running=1, at_rest=False)
    assert column(table, "state")[11] == "running"
    _, table = table_of(tmp_path / "b", running=1, at_rest=True)
    assert column(table, "state")[11] == "interrupted"


def test_an_inactive_setting_sorts_last_and_truth_as_text(tmp_path: Path) -> None:
    study, _ = table_of(tmp_path)
    del study[3].params["batch_size"]
    study[4].params["learn_rate"] = True
    table = trial_table(study, study.winner(), NAMES, "o", at_rest=True)
    cells = {row.number: row.cells[5:7] for row in table.rows}
    assert (cells[3][1].text, cells[3][1].key) == ("-", None)
    assert cells[4][0].key == "True"
    assert [column.is_number for column in table.columns[5:7]] == [False, True]
