from __future__ import annotations

import errno

from formula_search import a_search

from themo.files.disk_space import Patience
from tune.cluster.resources import Resources
from tune.cluster.storage import Storage
from tune.driver.loop import Loop, _next_session
from tune.driver.session_state import SessionState
from tune.study.study import Study


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
