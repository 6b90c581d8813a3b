from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event

import psutil
import pytest

from themo.errors import InputError
from tune.cluster import inquiry as module
from tune.cluster.inquiry import Inquiry, call_with_deadline


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], str]:
    """Writes a program's file."""

    def write(script: str) -> str:
        path = tmp_path / "program.py"
        path.write_text(script, encoding="utf-8")
        return str(path)

    return write


def in_a_minute() -> float:
    return time.monotonic() + 60


def test_lines_and_errors_of_a_program_that_knows_its_address(program: Callable[[str], str]) -> None:
    script = "import sys; print('ready'); print('asks', sys.argv[1:]); sys.exit('said')"
    with Inquiry(program(script), "head:6379") as inquiry:
        assert inquiry.imported("head:6379", 0) > time.monotonic()
        assert [inquiry.line(in_a_minute()) for _ in range(2)] == ["asks ['head:6379']", ""]
        assert inquiry.errors() == "said\n"


def test_a_program_is_given_up(program: Callable[[str], str]) -> None:
    script = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    with Inquiry(program(script), "head:6379") as inquiry:
        process = psutil.Process(int(inquiry.line(in_a_minute())))
        with pytest.raises(TimeoutError):
            inquiry.line(time.monotonic() + 0.1)
    assert not process.is_running()


def test_no_module_beside_the_program_or_caller_is_found(
    program: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stranger.py").write_text("print('imported')")
    monkeypatch.chdir(tmp_path)
    with Inquiry(program("import stranger"), "head:6379") as inquiry:
        assert inquiry.line(in_a_minute()) == ""
        assert "No module named 'stranger'" in inquiry.errors()


def test_a_client_waits_for_nothing_and_sends_nothing(program: Callable[[str], str]) -> None:
    with Inquiry(program("import json, os; print(json.dumps(dict(os.environ)))"), "head:6379") as inquiry:
        variables = json.loads(inquiry.line(in_a_minute()))
    asked = ("RAY_CLIENT_RECONNECT_GRACE_PERIOD", "RAY_ENABLE_UV_RUN_RUNTIME_ENV", "RAY_USAGE_STATS_ENABLED")
    assert [variables[name] for name in asked] == ["0", "0", "0"]


def test_an_import_has_a_deadline_and_leaves_time_for_the_answer(
    program: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Inquiry(program("import time; print('ready', flush=True); time.sleep(600)"), "head:6379") as inquiry:
        begun = time.monotonic()
        end = inquiry.imported("head:6379", begun + 0.1)
        assert begun + module._IMPORTED_SECONDS <= end
        later = time.monotonic() + 1000
        monkeypatch.setattr(module, "_IMPORT_SECONDS", 0.1)
        with pytest.raises(InputError, match=r"at head:6379 cannot be asked: the import of Ray takes more"):
            inquiry.imported("head:6379", later)
    with Inquiry(program("print('ready')"), "head:6379") as inquiry:
        monkeypatch.undo()
        assert inquiry.imported("head:6379", later) == later


def test_a_call_with_a_deadline_returns_raises_or_is_given_up() -> None:
    def fail() -> None:
        raise OSError("no route")

    given_up = Event()
    assert call_with_deadline(in_a_minute(), lambda: 3) == 3
    with pytest.raises(OSError, match="no route"):
        call_with_deadline(in_a_minute(), fail)
    with pytest.raises(TimeoutError):
        call_with_deadline(time.monotonic() + 0.1, given_up.wait)
    given_up.set()
