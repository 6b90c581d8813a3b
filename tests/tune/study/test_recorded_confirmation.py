"""A confirmation in ``study.json``: written, read, absent in older records, refused where damaged."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from themo.errors import InputError
from tune.driver.checkpoints import checkpoints_of_runs, checkpoints_to_keep
from tune.study.confirmation import Confirmation
from tune.study.study import Study

PLAN = Confirmation(winner=1, rivals=(0,), trusted=0, seeds=(1, 2), pairs_before=50)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A record with two trials, an ended and a running run of the confirmation."""
    study = Study(tmp_path / "study.json", "max")
    for number in range(2):
        study.add({"learn_rate": 1e-3 * (number + 1)})
        study.report(number, {"pairs_seen": 100.0, "o": 0.1 * number}, "o")
        study[number].enter_checkpoint(f"session-1/trial-{number:04d}/checkpoint_000000")
        study.finish(number, "COMPLETE")
    study.plan_confirmation(PLAN)
    for number in range(2):
        study.runs.add({**study[number].params, "seed": 1}, confirms=number)
        for step in (1, 2):
            study.runs.report(number, {"pairs_seen": 50.0 * step, "o": 0.3 * step}, "o")
            if step == 1:
                study.runs[number].enter_checkpoint(f"session-2/trial-{number:04d}/checkpoint_000000")
    study.runs.finish(0, "COMPLETE")
    study.save()
    return tmp_path / "study.json"


def test_plan_and_runs_are_read_as_written(path: Path) -> None:
    study = Study.read(path)
    assert study.confirmation == PLAN
    assert [(run.confirms, run.params["seed"], run.state) for run in study.runs] == [
        (0, 1, "COMPLETE"),
        (1, 1, "RUNNING"),
    ]
    assert len(study) == 2
    before = json.loads(path.read_text())
    study.save()
    assert json.loads(path.read_text()) | {"saved": 0} == before | {"saved": 0}


def test_a_resumed_run_starts_at_its_checkpoint(path: Path) -> None:
    study = Study.reopen(path)
    assert study.runs[1].values == {50: 0.3}
    assert study.runs[0].values == {50: 0.3, 100: 0.6}
    assert checkpoints_of_runs(study) == {"session-2/trial-0001/checkpoint_000000"}
    assert "session-2/trial-0000/checkpoint_000000" not in checkpoints_to_keep(study)


def test_a_dropped_checkpoint_stays_dropped(path: Path) -> None:
    """The cached line of the ended run is not written again."""
    study = Study.reopen(path)
    study.runs.finish(1, "COMPLETE")
    assert Study.read(path).runs[1].checkpoint == "session-2/trial-0001/checkpoint_000000"
    study.runs.drop_checkpoint(1)
    assert Study.read(path).runs[1].checkpoint is None


def test_a_record_without_a_confirmation_is_read(path: Path) -> None:
    tree = json.loads(path.read_text())
    del tree["confirmation"]
    for trial in tree["trials"]:
        del trial["confirms"]
    path.write_text(json.dumps(tree))
    study = Study.read(path)
    assert (study.confirmation, len(study.runs), study[0].confirms) == (None, 0, None)


@pytest.mark.parametrize(
    "damage",
    [
        lambda plan: plan.pop("runs"),
        lambda plan: plan.update(winner=7),
        lambda plan: plan.update(rivals=3),
        lambda plan: plan["runs"].pop(0),
    ],
    ids=["no runs", "unknown winner", "rivals are no list", "runs not numbered from 0"],
)
def test_a_damaged_confirmation_is_refused(path: Path, damage: Callable[[Any], object]) -> None:
    tree = json.loads(path.read_text())
    damage(tree["confirmation"])
    path.write_text(json.dumps(tree))
    with pytest.raises(InputError, match=r"study\.json: has no valid study: "):
        Study.read(path)
