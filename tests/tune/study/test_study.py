from __future__ import annotations

import errno
import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from themo.errors import InputError
from themo.files.disk_space import Patience
from tune.study.study import Study


def reported(study: Study, *values: float) -> int:
    number = study.add({"learn_rate": 0.1}).number
    for i, value in enumerate(values, start=1):
        study.report(number, {"pairs_seen": 100 * i, "val": value}, "val")
    return number


def test_a_saved_study_is_read_back_whole(tmp_path):
    study = Study(tmp_path / "study.json", "max")
    reported(study, 0.1, 0.30000000000000004)
    study.finish(0, "COMPLETE")
    reported(study, 0.2)
    study.finish(1, "PRUNED", "stopped at 100 pairs")
    reported(study)
    study.finish(2, "FAIL", "diverged: loss is nan")
    again = Study.reopen(tmp_path / "study.json")
    assert again.trials == study.trials
    assert again.mode == "max"
    assert again.counts() == {"RUNNING": 0, "PAUSED": 0, "COMPLETE": 1, "PRUNED": 1, "FAIL": 1}
    json.loads((tmp_path / "study.json").read_text())


def test_best_is_the_best_report_not_the_last_and_nan_is_none():
    study = Study(None, "max")
    reported(study, 0.1, 0.5, math.nan, 0.3)
    assert study[0].best("max") == 0.5
    assert study[0].best("max", up_to=100) == 0.1
    assert study[0].best("min") == 0.1
    assert study[0].pairs_seen == 400
    assert list(study[0].values) == [100, 200, 400]


@pytest.mark.parametrize(("mode", "winner"), [("max", 1), ("min", 0)])
def test_the_winner_has_the_best_report_and_a_version(mode, winner):
    study = Study(None, mode)
    for value, checkpoint in [(0.2, "a"), (0.9, "b"), (0.9, "c"), (0.95, None), (0.1, None)]:
        number = reported(study, value)
        study[number].checkpoint = checkpoint
        study.finish(number, "PRUNED")
    number = reported(study, 2.0 if mode == "max" else -2.0)
    study[number].checkpoint = "d"
    study.finish(number, "FAIL")
    won = study.winner()
    assert won is not None
    assert won.number == winner  # of the two equal ones the first; a failed one never


@pytest.mark.parametrize("mode", ["max", "min"])
def test_the_best_so_far_may_run_or_wait_but_not_fail(mode):
    study = Study(None, mode)
    sign = 1 if mode == "max" else -1
    states = ["PRUNED", "COMPLETE", "RUNNING", "PAUSED", "FAIL"]
    for value, state in enumerate(states):
        study[reported(study, sign * value)].enter_checkpoint("v")
        if state != "RUNNING":
            study.finish(value, state)
    reported(study)
    assert [trial.number for trial in study.ranked()] == [3, 2, 1, 0]
    assert study.leader() is study.winner() is study[3]
    study.finish(3, "FAIL")
    assert study.leader() is study.winner() is study[2]
    study.report(1, {"pairs_seen": 900, "val": 9.0 * sign}, "val")
    study[1].state = "RUNNING"  # a better student, which no checkpoint holds yet
    assert (study.leader(), study.winner()) == (study[1], study[2])
    study.reset_to_checkpoints()
    assert study.leader() is study.winner() is study[2]


def test_equal_trials_rank_by_cosine_then_by_number():
    study = Study(None, "max")
    for cosine in (0.1, 0.3, 0.3):
        number = reported(study, 1.0)
        study[number].metrics["best/val/cosine"] = cosine
    assert [trial.number for trial in study.ranked()] == [1, 2, 0]


def test_reports_are_saved_for_other_readers(tmp_path):
    study = Study(tmp_path / "study.json", "max")
    study.add({})
    study.report(0, {"pairs_seen": 100, "o": 0.5}, "o")
    study.save_if_older(1e9)
    assert Study.read(study.path)[0].values == {}
    study.save_if_older(0.0)
    assert Study.read(study.path)[0].values == {100: 0.5}
    study.path.unlink()
    study.save_if_older(0.0)
    assert not study.path.exists()  # there is nothing new


def test_reports_are_not_shown_on_a_full_disk(tmp_path, monkeypatch):
    def refuse(path: Path, text: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    study = Study(tmp_path / "study.json", "max", patience=Patience(warn=lambda _: pytest.fail("it waits")))
    study.add({})
    study.report(0, {"pairs_seen": 100, "o": 0.5}, "o")
    monkeypatch.setattr("tune.study.study.write_text", refuse)
    study.save_if_older(0.0)
    assert Study.read(study.path)[0].values == {}


def test_where_nothing_was_reported_nobody_leads():
    study = Study(None, "max")
    assert study.leader() is None
    reported(study)
    assert study.leader() is None


def test_there_is_no_winner_where_none_ended_well():
    study = Study(None, "max")
    reported(study)
    study.finish(0, "COMPLETE")
    assert study[0].state == "FAIL"
    assert study[0].reason == "it ended without a report"
    assert study.winner() is None


def test_a_trial_under_way_goes_back_to_its_checkpoint(tmp_path):
    study = Study(tmp_path / "study.json", "max")
    reported(study, 0.1, 0.2, 0.3)
    study[0].checkpoint, study[0].checkpoint_pairs = "session-1/x", 200
    study[0].verdict = "PRUNED"  # decided, but the report's checkpoint never arrived
    study.save()
    trial = Study.reopen(tmp_path / "study.json")[0]
    assert not trial.is_done
    assert trial.verdict == ""
    assert list(trial.values) == [100, 200]
    assert trial.pairs_seen == 200


def test_a_trial_without_a_checkpoint_begins_again():
    study = Study(None, "max")
    number = study.add({"learn_rate": 0.1}).number
    study.report(number, {"pairs_seen": 100, "epoch": 0.5, "cost/mb": 3.0, "val": 0.4}, "val")
    study.reset_to_checkpoints()
    trial = study[number]
    assert (trial.values, trial.pairs_seen, trial.cost) == ({}, 0, 3.0)
    assert "epoch" not in trial.metrics


@pytest.mark.parametrize("mode", ["max", "min"])
def test_of_equal_trials_one_without_a_takeover_wins(mode):
    """A takeover copies the donor's best value, which the new settings did not produce."""
    study, sign = Study(None, mode), 1 if mode == "max" else -1
    for number, value in ((0, 0.1), (1, 0.9)):
        study.add({"learn_rate": 0.1 + number})
        study.report(number, {"pairs_seen": 100, "val": sign * value}, "val")
        study[number].enter_checkpoint("session-1/x")
        study.finish(number, "PAUSED")
    study.take_over(0, 1, {"learn_rate": 0.8})
    for number in (0, 1):
        study.resume(number)
        study.report(number, {"pairs_seen": 200, "val": sign * 0.3}, "val")
        study[number].enter_checkpoint("session-1/y")
        study.finish(number, "COMPLETE")
    assert study.winner() is study.leader() is study[1]


def test_a_decided_trial_with_its_checkpoint_is_ended(tmp_path):
    study = Study(tmp_path / "study.json", "max")
    reported(study, 0.1, 0.2)
    study[0].checkpoint, study[0].checkpoint_pairs = "session-1/x", 200
    study[0].verdict = "PRUNED"
    study.save()
    assert Study.reopen(tmp_path / "study.json")[0].state == "PRUNED"
    assert Study.reopen(tmp_path / "study.json")[0].state == "PRUNED"


def test_a_decided_failure_ends_without_a_checkpoint():
    study = Study(None, "max")
    reported(study, 0.5)
    study.decide(0, "FAIL", "diverged: loss is nan")
    assert study.reset_to_checkpoints()
    assert (study[0].state, study[0].reason) == ("FAIL", "diverged: loss is nan")


def test_a_paused_trial_is_not_done_and_resumes(tmp_path):
    study = Study(tmp_path / "study.json", "max")
    reported(study, 0.1, 0.2)
    study[0].checkpoint, study[0].checkpoint_pairs = "session-1/x", 200
    study.finish(0, "PAUSED", "paused at 200 pairs")
    again = Study.reopen(tmp_path / "study.json")
    assert again.trials == study.trials
    assert not again[0].is_done
    assert again.winner() is again[0]
    again.finish(0, "PRUNED")
    again.resume(0)
    assert Study.reopen(tmp_path / "study.json")[0].state == "RUNNING"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"study.json: has no valid study"),
        ("[]", r"has no valid study"),
        ('{"format": 1, "mode": "max", "trials": [{"a": 1}]}', r"has no valid study"),
        ('{"format": 7, "mode": "max", "trials": []}', r"study.json: format must be 1, got 7"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, text, message):
    (tmp_path / "study.json").write_text(text)
    with pytest.raises(InputError, match=message):
        Study.reopen(tmp_path / "study.json")


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"values": {"100": math.nan}}, "values.100: Input should be a finite number, got nan"),
        ({"values": {"x": 0.5}}, r"values.x.\[key\]: Input should be a valid integer"),
        ({"verdict": "WHAT"}, "verdict.*: Input should be 'RUNNING', 'PAUSED', .*, got 'WHAT'"),
        ({"checkpoint": 3}, "checkpoint: Input should be a valid string, got 3"),
        ({"least_gpus": "x"}, "least_gpus: Input should be a valid number.*, got 'x'"),
        ({"params": {"learn_rate": []}}, r"params.learn_rate.*, got \[\]"),
        ({"stints": [{"started": 1.0}]}, "stints.0.ended: Field required"),
        ({"colour": 1}, "colour: .*, got 1"),
    ],
)
def test_a_damaged_trial_is_refused(tmp_path, changed, fault):
    study = _with_a_trial()
    tree = {"format": 1, "mode": "max", "trials": [asdict(study[0]) | changed]}
    path = tmp_path / "study.json"
    path.write_text(json.dumps(tree))
    with pytest.raises(InputError, match=f"study.json: has no valid study: trial 0: {fault}"):
        Study.read(path)


def test_carried_trials_are_serialized_once(tmp_path, monkeypatch):
    carried = replace(_with_a_trial().trials[0], number=-1)
    study = Study(tmp_path / "study.json", "max", carried=[carried])
    written: list[int] = []
    monkeypatch.setattr(
        "tune.study.study_file.asdict", lambda trial: written.append(trial.number) or asdict(trial)
    )
    study.save()
    study.add({})
    assert written == [-1, 0]
    assert Study.read(tmp_path / "study.json").carried == (carried,)


def _with_a_trial() -> Study:
    study = Study(None, "max")
    reported(study, 0.1)
    study.finish(0, "COMPLETE")
    return study


def test_carried_trials_stay_apart(tmp_path):
    old = Study(None, "max")
    reported(old, 0.4)
    old.finish(0, "COMPLETE")
    carried = replace(old[0], number=-1)
    Study(tmp_path / "study.json", "max", carried=[carried]).save()
    study = Study.reopen(tmp_path / "study.json")
    assert study.carried == (carried,)
    assert (len(study), study.winner()) == (0, None)
    reported(study, 0.1)
    study.save()
    again = Study.read(tmp_path / "study.json")
    assert (again.carried, again.trials) == (study.carried, study.trials)


def test_proposals_and_journal_come_back_as_saved(tmp_path):
    study = Study(tmp_path / "study.json", "max", proposals=[{"learn_rate": 0.1}])
    study.limit(8, None)
    study.limit(8, None)
    reported(study, 0.1, math.nan)
    study.finish(0, "COMPLETE")
    again = Study.read(study.path)
    assert again.proposals == ({"learn_rate": 0.1},)
    assert again.salt == study.salt != ()
    assert [tuple(event) for event in again.journal or ()] == [
        ("limits", -1, (8, None)),
        ("add", 0, ()),
        ("report", 0, (100, 0.1)),
        ("report", 0, (200, None)),
        ("finish", 0, ("COMPLETE", False)),
    ]


def test_other_proposals_alone_change_the_salt():
    salts = {Study(None, "max", proposals=[{"learn_rate": rate}]).salt for rate in (0.1, 0.2)}
    assert len(salts) == 2


@pytest.mark.parametrize(
    "journal",
    [
        '[["steal", 0]]',
        '[["add"]]',
        '[["add", "x"]]',
        '[["add", 1]]',
        '[["report", 0, 100]]',
        '[["report", 0, 100, "x"]]',
        '[["verdict", 0, "WHAT"]]',
        '[["finish", 0, "COMPLETE"]]',
        '[["take_over", 0, 7]]',
        '[["limits", 0, 8, null]]',
        "3",
    ],
)
def test_a_damaged_journal_is_refused(tmp_path, journal):
    path = tmp_path / "study.json"
    trials = json.dumps([asdict(_with_a_trial()[0])])
    path.write_text(f'{{"format": 1, "mode": "max", "trials": {trials}, "journal": {journal}}}')
    with pytest.raises(InputError, match="has no valid study"):
        Study.read(path)
