from __future__ import annotations

import errno

import pytest
from formula_search import a_search

from themo.checkpoints.search_parts import trial_key
from themo.files.disk_space import Patience
from tune.cluster.resources import Resources
from tune.cluster.storage import Storage
from tune.driver.loop import Loop, _next_session, trial_folder
from tune.driver.session_state import SessionState
from tune.results.run_tags import run_key
from tune.study.study import Study
from tune.study.trial_record import Trial


def test_a_failed_clean_up_ends_no_search(tmp_path, monkeypatch, capsys):
    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Storage, "remove_loose_files", refuse)
    search, folder = a_search(tmp_path, "mine", Resources()), tmp_path / "tune" / "mine"
    study = Study(None, "max")
    Loop(SessionState(search, study, Storage(str(folder / "trials")), Patience()))._tidy()
    told = "Warning: unused files of session-1 cannot be removed: [Errno 5] Input/output error"
    assert told in capsys.readouterr().err


def test_a_session_has_a_folder_of_its_own():
    assert _next_session([]) == "session-1"
    assert _next_session(["session-2", "session-10", "session-x", "other"]) == "session-11"


@pytest.mark.parametrize("confirms", [None, 3])
@pytest.mark.parametrize("pairs", [0, 12800])
def test_a_folder_names_the_run_of_its_trial(tmp_path, confirms, pairs):
    search = a_search(tmp_path, "mine", Resources())
    trial = Trial(0, {"learn_rate": 1e-3, "seed": 2**63 - 1}, confirms=confirms, checkpoint_pairs=pairs)
    path = f"session-2/{trial_folder(trial)}/checkpoint_000000"
    assert trial_key(search.folder / "trials" / path) == run_key(search.uid, trial)
    (search.folder / "trials" / path).mkdir(parents=True)
    assert Storage(str(search.folder / "trials")).checkpoints() == {path}
