from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import get_args

import pytest
from filelock import FileLock
from formula_search import settings_in
from simulation import Killed, play, space_of

from themo.cli.main import main
from tune.cluster.resources import Resources
from tune.results.why import Why, explain_trial
from tune.space.search_settings import SchedulerName
from tune.study.naming import FAILURES_FOLDER, LOCK_FILE, SEARCH_FILE, STUDY_FILE
from tune.study.search import new_search
from tune.study.study import Study
from tune.study.trial_record import Mode, Trial


def a_folder(
    logs_dir: Path,
    scheduler: str,
    heights: list[float],
    failure: str = "",
    moments: int | None = None,
    n_trusted: int = 0,
    mode: Mode = "max",
) -> Path:
    """The folder of a search in one slot whose trials rise to a height; a height of 0 fails.

    Args:
        logs_dir: Folder of the logs.
        scheduler: The scheduler; rungs lie at 100, 300 and 900 pairs.
        heights: One a trial.
        failure: Reason of a failure.
        moments: Steps before the process is killed.
        n_trusted: Number of trusted trials.
        mode: Whether the objective is maximized or minimized.
    """
    space = space_of(scheduler, len(heights))
    if n_trusted:
        trusted = tuple({"learn_rate": 1e-3 * (n + 1), "batch_size": 64} for n in range(n_trusted))
        space = type(space)(space.dimensions, trusted, space.search)
    folder = new_search("mine", space, settings_in(logs_dir), Resources()).folder

    def objective(trial: Trial, step: int) -> float:
        return heights[trial.number] * step / 9 or math.nan

    study = Study(folder / STUDY_FILE, mode)
    try:
        play(space, study, objective, moments=moments)
    except Killed:
        study.save()
        return folder
    study = Study.read(folder / STUDY_FILE)
    for trial in study:
        if not heights[trial.number]:
            trial.reason = failure
    study.save()
    return folder


def test_a_stopped_trial_names_rank_threshold_and_rivals(tmp_path: Path) -> None:
    why = explain_trial(a_folder(tmp_path, "asha", [4.5, 2.7, 3.6, 1.8]), 3)
    assert why.lines() == [
        "Trial 3 of search mine: stopped at 100 pairs",
        "Its best val/match@01, 0.2000, ranks 4 of 4 trials with a score",
        why.lines()[2],  # settings drawn at random
        "Decision: 0.2000 at the rung of 100 pairs, rank 4 of 4; "
        "the best 1 of 4 continue, with 0.5000 or more",
        "Compared with: trial 0 0.5000, trial 2 0.4000, trial 1 0.3000",
        "Computed again from study.json: every decision is as recorded",
    ]
    assert why.lines()[2].startswith("Settings: learn_rate=")
    assert why.is_repeated


def test_a_complete_trial_names_its_narrowest_decision(tmp_path: Path) -> None:
    why = explain_trial(a_folder(tmp_path, "asha", [2.7, 3.6, 0.9, 4.5]), 1)
    assert why.place == 2
    assert (
        "It passed every decision, most narrowly with 0.4000 at the rung of "
        "100 pairs, rank 1 of 2; the best 1 of 2 continue, with 0.3000 or more"
    ) in why.lines()


def test_a_minimized_objective_has_a_narrowest_decision_too(tmp_path: Path) -> None:
    """0.3 below the threshold of the first rung, 0.1 below that of the others."""
    heights = [2.7, 4.5, 4.5, 4.5, 4.5, 1.8]
    why = explain_trial(a_folder(tmp_path, "asha", heights, mode="min"), 5)
    assert (
        "It passed every decision, most narrowly with 0.2000 at the rung of "
        "300 pairs, rank 1 of 2; the best 1 of 2 continue, with 0.3000 or less"
    ) in why.lines()


def test_forecasts_are_distinguished_from_values(tmp_path: Path) -> None:
    folder = a_folder(tmp_path, "freeze-thaw", [2.7, 3.6, 0.9, 4.5, 1.8, 4.0, 0.5, 3.0, 2.0])
    why = explain_trial(folder, 6)
    line = why.lines()[3]
    end = r"\d\.\d{3} \(\d\.\d{3} to \d\.\d{3}\)"
    chance = r"chance to end best \d+\.\d %"
    assert re.search(
        rf"0\.\d{{4}} at the report of \d+ pairs, predicted to end at {end}, {chance}, rank", line
    )
    assert "by expected gain per pair" in line
    assert why.lines()[4].startswith("Predicted final scores of the other trials: trial ")
    waited = why.to_json()["waited"]
    assert waited["compared_by"] == "forecast"
    assert waited["forecast"]["interval"][0] <= waited["forecast"]["value"]
    assert 0 <= waited["forecast"]["chance"] <= 1
    assert "needed" not in [column.header for column in why.to_table().columns]


def test_a_paused_trial_that_completed_says_how_often(tmp_path: Path) -> None:
    folder = a_folder(tmp_path, "freeze-thaw", [2.7, 3.6, 0.9, 4.5, 1.8, 4.0, 0.5, 3.0, 2.0])
    winner = Study.read(folder / "study.json").winner()
    assert winner is not None
    why = explain_trial(folder, winner.number)
    assert "It paused once, resumed, and was trained to its end" in why.lines()


def test_a_trusted_trial_says_so(tmp_path: Path) -> None:
    why = explain_trial(a_folder(tmp_path, "asha", [4.5, 0.9, 3.6], n_trusted=2), 1)
    assert (
        "Its settings are trusted: it continued 2 times where other trials would not have continued"
        in why.lines()
    )
    never_doubted = explain_trial(a_folder(tmp_path / "other", "asha", [4.5, 4.6], n_trusted=2), 1)
    assert any(
        line.startswith("Its settings are trusted, and it passed every") for line in never_doubted.lines()
    )


def test_a_trial_that_waited_names_its_last_place(tmp_path: Path) -> None:
    why = explain_trial(a_folder(tmp_path, "pausing-asha", [0.9, 1.8, 4.5, 3.6]), 3)
    assert why.trial.state == "PRUNED"
    assert why.waited is not None
    assert (why.waited.rank, why.waited.threshold) == (2, 0.5)
    assert (
        "It waited until the search ended: 0.4000 at the rung of 100 pairs, rank 2 of 4; "
        "the best 1 of 4 are promoted, with 0.5000 or more"
    ) in why.lines()
    assert why.trial.why == why.waited.line


def test_a_takeover_names_the_donor(tmp_path: Path) -> None:
    folder = a_folder(tmp_path, "pbt", [float(height) for height in range(1, 9)])
    why = explain_trial(folder, 0)
    donors = [decision.donor for decision in why.decisions or () if decision.donor is not None]
    assert donors == [step.donor for step in why.trial.lineage] != []
    assert "It was never stopped: population based training stops no trial with finite reports" in why.lines()


def test_scheduler_none_stops_no_trial(tmp_path: Path) -> None:
    why = explain_trial(a_folder(tmp_path, "none", [1.0, 2.0]), 0)
    assert why.decisions == []
    assert "It was never stopped: the scheduler is none" in why.lines()


def test_an_older_record_says_that_the_order_is_missing(tmp_path: Path) -> None:
    folder = a_folder(tmp_path, "asha", [4.5, 0.9])
    tree = json.loads((folder / STUDY_FILE).read_text())
    del tree["journal"]
    (folder / STUDY_FILE).write_text(json.dumps(tree))
    why = explain_trial(folder, 1)
    assert why.is_repeated is None
    assert why.to_json()["decisions"] is None
    assert why.lines()[-1] == (
        "An older version recorded this search without the order of reports: no decision repeats"
    )


def test_a_decision_that_differs_is_not_hidden(tmp_path: Path) -> None:
    folder = a_folder(tmp_path, "asha", [4.5, 2.7, 0.9])
    text = (folder / STUDY_FILE).read_text()
    changed = text.replace('["report", 2, 100, 0.1]', '["report", 2, 100, 0.6]')
    assert changed != text
    (folder / STUDY_FILE).write_text(changed)
    why = explain_trial(folder, 2)
    assert why.is_repeated is False
    assert why.lines()[-1] == (
        "Computed again from study.json, a decision differs from the recorded one (below)"
    )
    cells = list(why.to_table().columns[-1].cells)
    assert cells == ["stopped; computed again: continued"]


def test_failures_alike_are_named(tmp_path: Path) -> None:
    heights = [0.0 if number in (3, 7) else 4.5 - number / 10 for number in range(9)]
    folder = a_folder(tmp_path, "none", heights, failure="diverged: loss is nan")
    (folder / FAILURES_FOLDER).mkdir()
    (folder / FAILURES_FOLDER / "trial-0007.txt").write_text("a traceback")
    why = explain_trial(folder, 7)
    lines = why.lines()
    assert lines[0] == "Trial 7 of search mine failed: diverged: loss is nan"
    assert f"Traceback: {folder / FAILURES_FOLDER / 'trial-0007.txt'}" in lines
    assert "2 trials failed in this way (diverged): 3, 7" in lines
    assert explain_trial(folder, 3).traceback is None


def test_a_lone_failure_has_none_alike(tmp_path: Path) -> None:
    why = explain_trial(a_folder(tmp_path, "none", [1.0, 0.0], failure="its worker died"), 1)
    assert "No other trial failed in this way (its worker died)" in why.lines()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["mine", "4"], "why TRIAL: must be a trial of search mine, 0 to 1, got 4"),
        (["mine", "x"], "argument TRIAL: must be a whole number of at least 0, got 'x'"),
        (["mine", "-1"], "argument TRIAL: must be a whole number of at least 0, got '-1'"),
        (
            ["mine", "1"],
            "why TRIAL: must be a trial that has ended, "
            "trial 1 was interrupted and resumes with the search, at 300 pairs",
        ),
        (["mime", "0"], "why NAME: there is no search at "),
        (["a/b", "0"], "why NAME must be letters, digits, '.', '_' and '-', got 'a/b'"),
    ],
)
def test_one_line_names_the_missing_trial(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    a_folder(tmp_path, "none", [1.0, 2.0], moments=26)
    assert main(["why", *words, "--logs-dir", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"Error: {message}")
    assert captured.err.count("\n") == 1


def test_a_running_trial_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = a_folder(tmp_path, "none", [1.0, 2.0], moments=26)
    with FileLock(folder / LOCK_FILE):
        assert main(["why", "mine", "1", "--logs-dir", str(tmp_path)]) == 2
    assert "trial 1 still runs, at " in capsys.readouterr().err


def test_a_search_without_its_first_rung_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = a_folder(tmp_path, "freeze-thaw", [1.0, 2.0])
    path = folder / SEARCH_FILE
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub(r"(?m)^first_rung: .*\n", "", text))
    assert main(["why", "mine", "0", "--logs-dir", str(tmp_path)]) == 2
    assert f"{path}: first_rung is missing, the sentence pairs of the first rung" in capsys.readouterr().err


def test_a_journal_without_a_trial_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = a_folder(tmp_path, "asha", [1.0, 2.0])
    path = folder / STUDY_FILE
    tree = json.loads(path.read_text(encoding="utf-8"))
    tree["journal"] = tree["journal"][:4]
    path.write_text(json.dumps(tree), encoding="utf-8")
    assert main(["why", "mine", "1", "--logs-dir", str(tmp_path)]) == 2
    assert f"{path}: has no valid study: its journal has 1 of 2 trials" in capsys.readouterr().err


def test_a_search_without_trials_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new_search("mine", space_of("asha", 2), settings_in(tmp_path), Resources())
    assert main(["why", "mine", "0", "--logs-dir", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "Error: why TRIAL: search mine has no trial yet, got 0\n"


@pytest.mark.parametrize("by_path", [False, True])
def test_the_command_prints_lines_and_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], by_path: bool
) -> None:
    folder = a_folder(tmp_path, "asha", [4.5, 2.7, 3.6, 1.8])
    before = (folder / STUDY_FILE).read_bytes()
    name = str(folder) if by_path else "mine"
    assert main(["why", name, "3", "--logs-dir", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Trial 3 of search mine: stopped at 100 pairs\n")
    (row,) = [line.split() for line in out.splitlines() if "rung of 100 pairs  " in line]
    assert row == ["100", "rung", "of", "100", "pairs", "0.2000", "4", "of", "4", "0.5000", "stopped"]
    assert (folder / STUDY_FILE).read_bytes() == before


def test_the_command_prints_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a_folder(tmp_path, "asha", [4.5, 2.7, 3.6, 1.8])
    assert main(["why", "mine", "3", "--logs-dir", str(tmp_path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["trial"], told["state"], told["place"], told["is_repeated"]) == (3, "pruned", 4, True)
    (decision,) = told["decisions"]
    assert {key: decision[key] for key in ("rank", "of", "threshold", "decided", "computed", "forecast")} == {
        "rank": 4,
        "of": 4,
        "threshold": 0.5,
        "decided": "pruned",
        "computed": "pruned",
        "forecast": None,
    }
    assert decision["compared"][0] == {"trial": 0, "value": 0.5}


def test_every_ended_trial_of_a_search_is_explained(tmp_path: Path) -> None:
    for scheduler in get_args(SchedulerName):
        folder = a_folder(tmp_path / scheduler, scheduler, [4.5, 2.7, 0.0, 1.8, 3.6], failure="diverged: x")
        found: list[Why] = [explain_trial(folder, number) for number in range(5)]
        assert [why.is_repeated for why in found] == [True] * 5
        assert all(why.lines() and why.to_json() for why in found)
