"""Imports without garbage collection."""

import gc

import pytest

from themo.process.imports import uncollected


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
            made = [Cycle() for _ in range(1000)]
            assert collected == []
        assert gc.isenabled()
        assert not any(each is made[0] for each in gc.get_objects())  # frozen
        del made
        [Cycle() for _ in range(1000)]
        assert collected
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
