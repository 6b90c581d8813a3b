"""The report of a search, written from records on disk."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from browser import opened
from formula_search import a_search
from recorded_search import leave_best, record, refusal, searched_by, text_of
from rich.console import Console

from themo.cli.main import main
from themo.errors import InputError
from themo.process import progress
from tune.cluster.resources import Resources
from tune.results.report.course_figures import history, learning_curves, rung_strips, time_line
from tune.results.report.facts import lanes, rungs
from tune.results.report.outcomes import hover_text
from tune.results.report.page import write_report
from tune.results.report.parallel import parallel_coordinates
from tune.results.report.scales import scales_of
from tune.space.dimensions import Choice
from tune.study.confirmation import Confirmation
from tune.study.search import Search, alone, read_search
from tune.study.study import Study
from tune.study.trial_record import State, Takeover

FIGURES = {"history", "curves", "rungs", "parallel", "slices", "importance", "time"}


@pytest.fixture
def finished(tmp_path: Path) -> tuple[Search, Path]:
    search, folder = record(tmp_path / "logs")
    search = searched_by(search, folder, num_samples=12)
    leave_best(search, folder)
    return search, folder


def test_the_page_of_a_finished_search(finished: tuple[Search, Path]) -> None:
    search, folder = finished
    path = write_report(search, folder)
    assert path == folder / "report.html"
    text = text_of(path)
    assert "12 of 12 trials over 4 settings, by val/match@01 (higher is better)." in text
    assert "Not finished" not in text
    assert "The winner: trial 10" in text
    assert "student, Spanish 0.750 0.000–1.000" in text
    assert "ceiling: the teacher, English 0.950" in text
    assert "floor: the teacher, fed Spanish 0.050" in text
    assert "retention 0.789" in text
    assert "3 completed, 8 stopped early, 1 failed" in text
    assert "diverged: loss is nan &lt;at once&gt;" in text
    assert "python -m themo train --config logs/tune/mine/best.yaml" in text
    assert "python -m themo test --version-path logs/tune/mine/best --baseline --report" in text
    assert "torch 2.9" in text


def confirm(folder: Path, n_seeds: int) -> None:
    """Enter a confirmation of trial 10 beside trial 7: three seeds are planned, some have ended."""
    study = Study.read(folder / "study.json")
    study.plan_confirmation(Confirmation(10, (7,), trusted=7, seeds=(1, 2, 3)))
    for seed in range(1, n_seeds + 1):
        for number, score in ((10, 0.5 + 0.01 * seed), (7, 0.4)):
            run = study.runs.add(study[number].params | {"seed": seed}, confirms=number)
            study.runs.report(run.number, {"pairs_seen": 900.0, "val/match@01": score}, "val/match@01")
            study.runs.finish(run.number, "COMPLETE")
    study.save()


def test_the_page_shows_seconds_where_they_are_the_resource(finished: tuple[Search, Path]) -> None:
    search, folder = finished
    rules = {"resource": "seconds", "grace_pairs": None, "grace_seconds": 1.5, "trial_seconds": 20.0}
    search = searched_by(search, folder, **rules)
    study = Study.read(folder / "study.json")
    for trial in study:  # a report every two seconds
        trial.seconds_at = {pairs: pairs / 50 for pairs in trial.values}
        trial.metrics["training_seconds"] = trial.pairs_seen / 50
    study.save()
    text = text_of(write_report(search, folder))
    assert "val/match@01 over the seconds of training." in text
    assert "rung, seconds" in text
    assert "4.5 3 3 0" in text
    figure = learning_curves(study, study.winner(), "o", rungs(study, search.space.search), "seconds")
    assert figure.layout.xaxis.title.text == "seconds of training (logarithmic scale)"
    assert max(x for trace in figure.data for x in trace.x or () if x) == 18.0


@pytest.mark.parametrize(
    ("n_seeds", "expected"),
    [
        (2, "+0.1150 (2 seeds, too few for an interval) Trial 10 beside the trusted start, trial 7"),
        (3, "+0.1200 (90 % interval +0.1018 to +0.1382, 3 seeds) Trial 10 is better than the trusted start"),
    ],
)
def test_the_page_says_whether_the_winner_is_better(
    finished: tuple[Search, Path], n_seeds: int, expected: str
) -> None:
    search, folder = finished
    confirm(folder, n_seeds)
    text = text_of(write_report(search, folder))
    assert "Is the winner better?" in text
    assert f"trusted start 7 {expected}" in text
    assert ("Not finished: at most 6 runs." in text) == (n_seeds == 2)
    assert ("tune --resume mine" in text) == (n_seeds == 2)


@pytest.mark.parametrize("share", [0.25, 0.0])
def test_the_page_says_why_a_winner_is_not_confirmed(finished: tuple[Search, Path], share: float) -> None:
    search, folder = finished
    search = searched_by(search, folder, num_samples=12, confirm=share)
    text = text_of(write_report(search, folder))
    expected = "Not confirmed: 2 further seeds of trials 10 and 7 need"
    assert (expected in text) == ("Is the winner better?" in text) == (share > 0)
    assert bool(re.search(r"tune --resume mine --logs-dir \S+ --confirm [0-9.]+", text)) == (share > 0)


def test_the_line_of_the_best_so_far_passes_by_those_that_failed(finished: tuple[Search, Path]) -> None:
    search, folder = finished
    study = Study.read(folder / "study.json")
    study[1].values[100] = 0.9  # it failed
    line = history(study, study.winner(), search.objective).data[0]
    assert 1 not in line.x
    assert max(line.y) == study[10].best("max")


def test_a_failure_reason_is_no_markup_for_plotly(finished: tuple[Search, Path]) -> None:
    _, folder = finished
    trial = Study.read(folder / "study.json")[1]
    trial.reason = "must be <class 'int'>, got <b> & co"
    trial.params["pooling"] = "<i>"
    text = hover_text(trial, "max")
    assert "must be &lt;class 'int'&gt;, got &lt;b&gt; &amp; co<br>" in text
    assert "pooling &lt;i&gt;" in text


def test_hovering_over_a_stopped_trial_shows_its_rank(finished: tuple[Search, Path]) -> None:
    search, folder = finished
    study = Study.read(folder / "study.json")
    study[2].why, study[2].reason = "0.0150 at the rung of 100 pairs, rank 2 of 3", "stopped at 100 pairs"
    study.save()
    winner, stops = study.winner(), rungs(study, search.space.search)
    texts = [
        *(text for trace in history(study, winner, "o").data for text in trace.text or ()),
        *(text for trace in learning_curves(study, winner, "o", stops).data for text in trace.text or ()),
        *(text for trace in rung_strips(study, stops, winner, "o").data for text in trace.text or ()),
    ]
    shown = [text for text in texts if text and "rank 2 of 3" in text]
    assert len(shown) == 3
    assert all("trial 2" in text for text in shown)
    assert "rank 2 of 3" in text_of(write_report(search, folder))


def test_the_page_shows_rungs_and_cost(finished: tuple[Search, Path]) -> None:
    text = text_of(write_report(*finished))
    assert "100 11 3 8 0, 2, 3, 5, 6, 8, 9, 11" in text
    assert "300 3 3 0" in text
    # eight trials stopped after a ninth of their epoch: 800 pairs left each; the others saw 2,700
    assert "The trials trained on 3,500 sentence pairs" in text
    assert "65 % of the pairs" in text


@pytest.mark.parametrize(
    ("scheduler", "rule"),
    [
        ("hyperband", "split into 3 brackets with their own rungs"),
        ("median", "Every 100 sentence pairs a trial is stopped if its best so far is worse than the median"),
        ("pbt", "After every round of 100 sentence pairs each trial of the worst quarter"),
        ("freeze-thaw", "continues the trial with the largest expected gain per pair"),
        ("none", "No trial is stopped early in this search."),
    ],
)
def test_the_page_explains_schedulers_without_common_rungs(
    finished: tuple[Search, Path], scheduler: str, rule: str
) -> None:
    search, folder = finished
    study = Study.read(folder / "study.json")
    study[4].lineage.append(Takeover(300, 0.2, dict(study[4].params), 7))
    for trial in study:
        trial.state = "COMPLETE" if trial.state == "PRUNED" and scheduler in ("pbt", "none") else trial.state
    study.save()
    text = text_of(write_report(searched_by(search, folder, scheduler=scheduler), folder))
    assert rule in text
    assert "Dotted lines" not in text
    assert "No trial reached a rung" not in text
    stopped = "Stopped: trial 0 at 100 pairs, trial 2 at 100 pairs, trial 3 at 100 pairs"
    assert (stopped in text) == (scheduler in ("hyperband", "median", "freeze-thaw"))
    assert "Took over another trial: trial 4 as trial 7 from 300 pairs." in text


def test_the_page_of_a_search_without_judgements(tmp_path: Path) -> None:
    search, folder = record(tmp_path / "logs", n=1, running=1)
    text = text_of(write_report(searched_by(search, folder, grace_pairs=5000), folder))
    assert "No trial reached a rung; the first is at 5,000 sentence pairs." in text
    text = text_of(write_report(searched_by(search, folder, scheduler="median", grace_pairs=5000), folder))
    assert "No trial was stopped." in text


def test_with_patience_the_savings_are_a_bound(finished: tuple[Search, Path]) -> None:
    search, folder = finished
    assert "up to" not in text_of(write_report(search, folder))
    text = text_of(write_report(replace(search, settings=search.settings.override({"patience": 5})), folder))
    assert "saved by early stopping up to 65 %" in text
    assert "Without early stopping, up to 9,900 pairs would have taken" in text
    assert "were saved, or less, as training.patience would have ended some trials" in text


def test_the_page_of_an_interrupted_search_changes_nothing(tmp_path: Path) -> None:
    search, folder = record(tmp_path / "logs", n=6, running=2)
    before = (folder / "study.json").read_bytes()
    text = text_of(write_report(search, folder))
    assert "Not finished:" in text
    assert "The best so far: trial 4" in text  # under way, and ahead of all
    assert "2 interrupted" in text
    assert "The winner is tested at the end of a session." in text
    assert "python -m themo tune --resume mine --logs-dir" in text
    assert (folder / "study.json").read_bytes() == before


def test_an_interrupted_searchs_page_shows_best_and_test(tmp_path: Path) -> None:
    search, folder = record(tmp_path / "logs", n=6, running=2)
    leave_best(search, folder)
    text = text_of(write_report(search, folder))
    assert "student, Spanish" not in text  # a version with another score: the search was resumed since
    facts = {"best": {search.objective: 5 * 9 / 200}}
    (folder / "best" / "summary.json").write_text(json.dumps(facts), encoding="utf-8")
    text = text_of(write_report(search, folder))
    assert "Not finished:" in text
    assert "The best so far: trial 4" in text
    assert "student, Spanish 0.750" in text
    assert "Resume the search python -m themo tune --resume mine" in text
    assert "python -m themo train --config logs/tune/mine/best.yaml" in text


def test_an_interrupted_searchs_page_begins_with_the_resume(tmp_path: Path) -> None:
    search, folder = record(tmp_path / "logs", n=6, running=2)
    resume = f"To resume, in {tmp_path} : python -m themo tune --resume mine --logs-dir logs"
    head = text_of(write_report(search, folder)).partition("The best so far:")[0]
    assert resume in head
    assert "2 interrupted" in head
    assert "2 running" not in head
    with alone(folder):
        head = text_of(write_report(search, folder)).partition("The best so far:")[0]
    assert "To resume" not in head
    assert "2 running" in head


@pytest.mark.parametrize(("n", "tick"), [(2, 1), (12, 1), (40, None)])
def test_few_trials_have_whole_numbers_on_the_history(tmp_path: Path, n: int, tick: int | None) -> None:
    _, folder = record(tmp_path / "logs", n=n)
    study = Study.read(folder / "study.json")
    assert history(study, None, "val/match@01").layout.xaxis.dtick == tick


@pytest.mark.parametrize("state", ["RUNNING", "PAUSED"])
def test_the_page_of_a_search_without_ended_trials(tmp_path: Path, state: State) -> None:
    search, folder = record(tmp_path / "logs", n=6, running=6)
    study = Study.read(folder / "study.json")
    for trial in study:
        trial.state = state
    study.save()
    text = text_of(write_report(search, folder))
    assert "The best so far: trial 4" in text
    assert f"0 failed, 6 {'paused' if state == 'PAUSED' else 'interrupted'}" in text


def test_a_stale_best_version_is_not_the_winners(finished: tuple[Search, Path]) -> None:
    """The search was killed between its last trial and the writing of the results."""
    search, folder = finished
    other = search.settings.override({"learn_rate": 0.5})
    (folder / "best.yaml").write_text(other.to_yaml(), encoding="utf-8")
    text = text_of(write_report(search, folder))
    assert "No test results: the winner's files are not beside this page" in text
    assert "0.750" not in text
    assert "Write the winner&#39;s files again python -m themo tune --resume mine" in text
    assert "The winner has not been tested." not in text
    assert "Training with the winner's settings repeats it" not in text
    assert "train --config" not in text


def test_a_winner_without_version_repeats_from_its_settings(
    finished: tuple[Search, Path],
) -> None:
    search, folder = finished
    shutil.rmtree(folder / "best")
    text = text_of(write_report(search, folder))
    assert "No test results: the winner's files are not beside this page" in text
    assert "Training with the winner's settings repeats it" in text
    assert "python -m themo train --config logs/tune/mine/best.yaml" in text
    assert "python -m themo tune --resume mine" in text


def test_a_winner_that_was_stopped_is_not_repeated(finished: tuple[Search, Path]) -> None:
    search, folder = finished
    study = Study.read(folder / "study.json")
    study[10].state, study[10].reason = "PRUNED", "stopped at 900 pairs"
    study.save()
    leave_best(search, folder)
    text = text_of(write_report(search, folder))
    train = "python -m themo train --config logs/tune/mine/best.yaml"
    assert f"Train the winner's settings to their end {train}" in text.replace("&#39;", "'")
    assert (
        "The winner was cut: stopped at 900 pairs. Training with its settings continues to the end." in text
    )
    assert "repeats it" not in text


def test_a_winner_that_was_not_tested_has_the_command_for_it(finished: tuple[Search, Path]) -> None:
    search, folder = finished
    (folder / "best" / "test.json").unlink()
    text = text_of(write_report(search, folder))
    assert "The winner has not been tested. See “Commands” at the end of this page." in text
    assert "python -m themo test --version-path logs/tune/mine/best --baseline --report" in text


def test_a_search_that_waited_for_no_more_gains_is_finished(tmp_path: Path) -> None:
    search, folder = record(tmp_path / "logs")
    search = searched_by(search, folder, num_samples=32, stop_after_no_gain=1)
    leave_best(search, folder)
    text = text_of(write_report(search, folder))
    assert "12 of 32 trials" in text
    assert "Not finished" not in text
    assert "student, Spanish 0.750" in text
    assert "Resume the search" not in text


def test_the_page_says_why_trials_are_left_out(tmp_path: Path) -> None:
    search, folder = record(tmp_path / "logs")
    assert "left out" not in text_of(write_report(search, folder))
    search = searched_by(search, folder, num_samples=14, stop_gain=0.01, stop_chance=0.5)
    leave_best(search, folder)
    text = text_of(write_report(search, folder))
    assert "12 of 14 trials" in text
    assert "Not finished" not in text
    expected = r"2 trials are left out: the chance of a gain above 0.01 in val/match@01 is 0\.\d+, below 0.5"
    assert re.search(expected, text)


def test_a_winner_with_changed_settings_has_its_scores(finished: tuple[Search, Path]) -> None:
    search, folder = finished
    study = Study.read(folder / "study.json")
    study[10].lineage.append(Takeover(300, 0.2, dict(study[10].params), 7))
    study.save()
    leave_best(search, folder)
    text = text_of(write_report(search, folder))
    assert "student, Spanish 0.750" in text
    assert "it continued as trial 7 from 300 pairs, so no single configuration repeats it" in text
    assert "train --config" not in text
    assert "python -m themo test --version-path" in text


@pytest.mark.parametrize("text", ["", "a: [", "training: {learn_rate: much}"])
def test_best_settings_changed_by_hand_are_none(finished: tuple[Search, Path], text: str) -> None:
    search, folder = finished
    (folder / "best.yaml").write_text(text, encoding="utf-8")
    text = text_of(write_report(search, folder))
    assert "No test results: the winner's files are not beside this page" in text
    assert "train --config" not in text


def test_one_trial_is_enough(tmp_path: Path) -> None:
    text = text_of(write_report(*record(tmp_path / "logs", n=1)))
    assert "Importances need at least 8 trials with different scores." in text


def test_paths_are_shown_as_they_are_typed_here(
    finished: tuple[Search, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "python -m themo train --config logs/tune/mine/best.yaml" in text_of(write_report(*finished))


@pytest.mark.parametrize("below", [".", "tune", "tune/mine"])
def test_report_from_inside_the_logs_shows_paths_from_outside(
    finished: tuple[Search, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, below: str
) -> None:
    _, folder = finished
    monkeypatch.chdir(tmp_path / "logs" / below)
    assert main(["report", os.path.relpath(folder)]) == 0
    text = text_of(folder / "report.html")
    base = "" if below == "." else "logs/"
    assert f"python -m themo train --config {base}tune/mine/best.yaml" in text
    assert f"python -m themo tune --repeat mine --logs-dir {base.rstrip('/') or '.'}" in text


def test_the_commands_of_a_moved_search_are_of_where_it_lies(
    finished: tuple[Search, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "logs").rename(tmp_path / "my logs")
    folder = tmp_path / "my logs" / "tune" / "mine"
    monkeypatch.chdir(tmp_path)
    text = text_of(write_report(read_search(folder), folder))
    assert "python -m themo tune --repeat mine --logs-dir &#39;my logs&#39;" in text
    assert "python -m themo report mine --logs-dir &#39;my logs&#39;" in text
    assert f"sqlite:///{tmp_path}/my logs/mlflow.db" in text
    assert f"{tmp_path}/logs" not in text
    shutil.rmtree(folder / "best")
    text = text_of(write_report(read_search(folder), folder))
    assert "python -m themo tune --resume mine --logs-dir &#39;my logs&#39;" in text


def test_scores_of_a_search_resumed_elsewhere_stay(finished: tuple[Search, Path]) -> None:
    search, folder = finished
    elsewhere = search.settings.override({"logs_dir": "elsewhere"})
    winner = Study.read(folder / "study.json").winner()
    assert winner is not None
    (folder / "best.yaml").write_text(elsewhere.override(winner.params).to_yaml(), encoding="utf-8")
    assert "student, Spanish 0.750" in text_of(write_report(search, folder))


# --- bad input ---


def test_the_command_prints_the_path(
    finished: tuple[Search, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["report", "mine", "--logs-dir", str(tmp_path / "logs")]) == 0
    assert capsys.readouterr().out == f"{finished[1] / 'report.html'}\n"


def test_the_path_of_a_report_is_relative_to_the_current_folder(
    finished: tuple[Search, Path],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["report", "mine"]) == 0
    assert capsys.readouterr().out == "logs/tune/mine/report.html\n"


def test_the_newest_search_is_taken_and_named(
    finished: tuple[Search, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    other = a_search(tmp_path / "logs", "other", Resources()).folder
    os.utime(other / "search.yaml", (0, 0))
    assert main(["report", "--logs-dir", str(tmp_path / "logs")]) == 0
    out, err = capsys.readouterr()
    assert out == f"{finished[1] / 'report.html'}\n"
    named, compare = err.splitlines()
    assert named == "Search: mine, the newest (report NAME shows another)"
    assert compare.startswith("Compare runs:  mlflow ui --backend-store-uri sqlite:///")


def test_a_search_may_be_given_by_its_folder(
    finished: tuple[Search, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(finished[1])]) == 0
    assert capsys.readouterr().out == f"{finished[1] / 'report.html'}\n"


def test_a_terminal_shows_progress(
    finished: tuple[Search, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(progress, "console", Console(file=screen, force_terminal=True, width=120))
    assert main(["report", "mine", "--logs-dir", str(tmp_path / "logs")]) == 0
    for work in ("Loading libraries", "Writing the report"):
        assert work in screen.getvalue()


def test_a_name_without_a_search(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    message = refusal(capsys, "nosuch", "--logs-dir", tmp_path)
    assert message == f"report NAME: there is no search at {tmp_path}/tune/nosuch: search.yaml is missing"
    message = refusal(capsys, "a b", "--logs-dir", tmp_path)
    assert message.startswith("report NAME must be letters, digits, '.', '_' and '-', got 'a b'")
    message = refusal(capsys, tmp_path / "x", "--logs-dir", tmp_path)
    assert message == f"{tmp_path / 'x'}: is neither a version nor a search"
    assert f"report: {tmp_path}/tune must contain a search, but has none" in refusal(
        capsys, "--logs-dir", tmp_path
    )


def damaged(text: str) -> str:
    return json.dumps({"format": 1, "mode": "max", "saved": 0, "trials": [json.loads(text)]})


TRIAL = '{"number": 0, "params": {}, "state": "COMPLETE", "values": {"100": 0.5}, "metrics": {}}'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "study.json: has no valid study: "),
        ('{"format": 1, "mode": "max", "trials": [', "study.json: has no valid study: "),
        (
            '{"format": 1, "mode": "best", "trials": []}',
            "study.json: has no valid study: mode 'best'",
        ),
        (
            damaged(TRIAL.replace("COMPLETE", "DONE")),
            "trial 0: state: Input should be 'RUNNING', 'PAUSED', 'COMPLETE', 'PRUNED' or 'FAIL', got 'DONE'",
        ),
        (damaged(TRIAL.replace("0.5", '"much"')), "trial 0: values.100: Input should be a valid number"),
        (damaged(TRIAL.replace('"number": 0', '"number": 3')), "its trials are not numbered from 0"),
        ('{"format": 2, "mode": "max", "trials": []}', "study.json: format must be 1, got 2"),
        (
            '{"format": 1, "mode": "max", "trials": []}',
            "study.json: must contain a trial with a score, but all 0 failed or have not reported",
        ),
        (
            damaged(TRIAL.replace('"COMPLETE"', '"FAIL", "reason": "no room"').replace('"100": 0.5', "")),
            "must contain a trial with a score, but all 1 failed or have not reported; the first one: no ",
        ),
        (
            damaged(TRIAL.replace("COMPLETE", "FAIL")),
            "study.json: must contain a trial with a score, but all 1 failed or have not reported",
        ),
    ],
)
def test_a_damaged_record_or_one_without_a_score(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, content: str, message: str
) -> None:
    _, folder = record(tmp_path, n=0)
    (folder / "study.json").write_text(content, encoding="utf-8")
    assert message in refusal(capsys, "mine", "--logs-dir", tmp_path)
    assert not (folder / "report.html").exists()


def test_no_record_at_all(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    _, folder = record(tmp_path, n=0)
    (folder / "study.json").unlink()
    message = refusal(capsys, "mine", "--logs-dir", tmp_path)
    assert message == f"{folder}/study.json: cannot be read: No such file or directory"


@pytest.mark.parametrize("content", ["", "{}", '{"n": {"retrieval": 3}, "student": {}, "ci95": {}}', "[]"])
def test_a_damaged_test(finished: tuple[Search, Path], content: str) -> None:
    search, folder = finished
    (folder / "best" / "test.json").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=r"best/test\.json: is not a valid test record: .* writes a new one"):
        write_report(search, folder)


def test_a_report_that_cannot_be_written(finished: tuple[Search, Path]) -> None:
    search, folder = finished
    (folder / "report.html").mkdir()
    with pytest.raises(InputError, match=r"report\.html: cannot be written: Is a directory"):
        write_report(search, folder)
    assert not list(folder.glob(".report*"))


def test_an_older_record_without_machines_and_stints(finished: tuple[Search, Path]) -> None:
    search, folder = finished
    tree = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    for trial in tree["trials"]:
        del trial["machine"], trial["stints"]
    (folder / "study.json").write_text(json.dumps(tree), encoding="utf-8")
    assert "2 trials at once, slots busy 92 %" in text_of(write_report(search, folder))


def test_machines_that_changed_their_names_are_no_more_slots(finished: tuple[Search, Path]) -> None:
    search, folder = finished
    study = Study.read(folder / "study.json")
    for trial in study:
        (stint,) = trial.stints
        trial.stints.clear()
        trial.enter_attempt(stint.started, stint.ended, "before" if trial.number < 6 else "after")
    study.save()
    assert "2 trials at once, slots busy 92 %" in text_of(write_report(search, folder))


def test_waiting_and_pauses_between_sessions_are_not_work(tmp_path: Path) -> None:
    search, folder = record(tmp_path / "logs", n=4)
    study = Study.read(folder / "study.json")
    for trial in study:  # each waits for a place in one slot, in two sessions
        trial.stints.clear()
        trial.enter_attempt(10.0 * trial.number, 10.0 * trial.number + 9, session=1)
        trial.enter_attempt(9000 + 10.0 * trial.number, 9000 + 10.0 * trial.number + 9, session=2)
        trial.seconds = 18.0
    study.save()
    assert "1 min 1 trial at once, slots busy 92 %" in text_of(write_report(search, folder))
    bars = [bar for bar in time_line(lanes(study), None, "max").data if bar.x]
    assert sorted(x for bar in bars for x in bar.x) == pytest.approx([9 / 3600] * 8)


# --- in a browser ---


@pytest.fixture
def shown(finished: tuple[Search, Path]) -> Iterator[Path]:
    path = write_report(*finished)
    yield path
    shutil.rmtree(path.parent)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_drawn_in_a_browser_without_the_network(shown: Path, scheme: str) -> None:
    with opened(shown, scheme) as seen:
        drawn = seen.drawn()
        assert set(drawn) == FIGURES
        assert min(drawn.values()) > 0, drawn
        assert seen.page.title() == "Search mine"
        assert seen.page.evaluate("document.documentElement.scrollWidth") == 1240
    assert (seen.errors, seen.requests) == ([], [shown.as_uri()])


@pytest.mark.slow
def test_the_report_fits_a_telephone(shown: Path) -> None:
    with opened(shown, width=400) as seen:
        seen.drawn()
        assert seen.page.evaluate("document.documentElement.scrollWidth") == 400


@pytest.mark.slow
def test_a_search_of_one_trial_is_drawn_too(tmp_path: Path) -> None:
    _, folder = record(tmp_path / "logs", n=1)
    with opened(write_report(read_search(folder), folder)) as seen:
        assert set(seen.drawn()) == FIGURES - {"importance"}
    assert seen.errors == []


def test_a_conditional_setting_on_the_page(finished: tuple[Search, Path]) -> None:
    search, folder = finished
    conditions = {"weight_decay": {"batch_size": Choice([32, 48])}}
    search = replace(search, space=replace(search.space, conditions=conditions))
    study = Study.read(folder / "study.json")
    for trial in study:
        trial.params = search.space.active(trial.params)
    study.save()
    winner = study.winner()
    assert winner is not None
    assert "weight_decay" not in winner.params
    text = text_of(write_report(search, folder))
    assert "weight_decay - 0 to 1, where batch_size is 32 or 48" in " ".join(text.split())
    assert "A line is interrupted at a setting that is inactive in its trial." in text
    scales = scales_of([0.1, 0.5], "max")
    data = parallel_coordinates(study, winner, search.space, search.objective, scales)
    at = list(search.space.dimensions).index("weight_decay")
    (line,) = [line for line in data["trials"] if line["group"] == "winner"]
    assert line["heights"][at] is None
    assert [i for i, height in enumerate(line["heights"]) if height is None] == [at]
