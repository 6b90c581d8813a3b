"""Studies of trials that ended with given scores."""

from __future__ import annotations

from tune.space.dimensions import FloatRange
from tune.space.search_settings import SearchSettings
from tune.space.search_space import Space
from tune.study.study import Study
from tune.study.trial_record import Mode


def a_space(**search: object) -> Space:
    return Space({"learn_rate": FloatRange(0, 1)}, (), SearchSettings(**search))


def a_study(values: list[float | None], mode: Mode = "max", running: int = 0) -> Study:
    """Trials that ended with such scores, None as failed, then some that run."""
    study = Study(None, mode)
    for value in values:
        number = study.add({}).number
        if value is not None:
            study.report(number, {"pairs_seen": 1, "o": value}, "o")
        study.finish(number, "FAIL" if value is None else "COMPLETE")
    for _ in range(running):
        study.add({})
    return study
