"""Imports without garbage collection."""

import gc
import subprocess
import sys
from importlib.util import find_spec

import pytest

from themo.process.garbage import uncollected


class Cycle:
    def __init__(self) -> None:
        self.itself = self


def test_no_collection_runs_while_libraries_load() -> None:
    collected: list[str] = []

    def note(phase: str, _info: dict[str, int]) -> None:
        collected.append(phase)

    before = gc.get_threshold()
    gc.callbacks.append(note)
    gc.set_threshold(10)
    try:
        with uncollected():
            before_libraries = len(collected)
            made = [Cycle() for _ in range(1000)]
            assert len(collected) == before_libraries
        assert gc.isenabled()
        assert not any(each is made[0] for each in gc.get_objects())  # frozen
        [Cycle() for _ in range(1000)]
        assert len(collected) > before_libraries
    finally:
        gc.callbacks.remove(note)
        gc.set_threshold(*before)


def test_a_failed_import_leaves_collection_enabled() -> None:
    with pytest.raises(ImportError), uncollected():
        raise ImportError
    assert gc.isenabled()


def test_disabled_collection_stays_disabled() -> None:
    gc.disable()
    try:
        with uncollected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


@pytest.mark.skipif(find_spec("triton") is None, reason="comes with torch's CUDA build")
def test_bindings_report_no_leaks_at_the_end() -> None:
    script = "from themo.process.garbage import uncollected\nwith uncollected():\n    import triton"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == ""
