"""Searches under faults of every kind, on real processes; `python -m benchmarks chaos` is the long form."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from benchmarks.chaos import accounts
from benchmarks.chaos.disk import why_not
from benchmarks.chaos.faults import EACH_ONCE, Kind, draw
from benchmarks.chaos.rounds import NODES, Site, opened_site, undisturbed
from tune.study.study import Study

pytestmark = [
    pytest.mark.slow,
    pytest.mark.system,
    pytest.mark.timeout(3000),
    # what mlflow, sqlalchemy and ray do among themselves
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
]

COUNTS: dict[Kind, int] = {kind: n for kind, n in EACH_ONCE.items() if kind != "disk" or not why_not()}


@pytest.mark.skipif(bool(why_not()), reason=f"the searches under faults run without a full disk: {why_not()}")
def test_the_disk_is_among_the_faults() -> None:
    assert COUNTS == EACH_ONCE


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with opened_site() as site:
        yield site


@pytest.fixture(scope="module")
def whole(site: Site) -> Study:
    return undisturbed(site, "one", 1, {})


def test_one_slot_under_faults_equals_the_undisturbed_search(site: Site, whole: Study) -> None:
    rng = random.Random(1)
    outcome = site.run("in-one-slot", 1, draw(COUNTS, reports_of(whole), rng), rng, whole=whole)
    assert outcome.violations == []
    assert dict(outcome.faults) == COUNTS
    assert outcome.study is not None


def test_several_slots_under_faults_account_for_all_trials(site: Site, whole: Study) -> None:
    rng = random.Random(2)
    outcome = site.run("in-several-slots", NODES, draw(COUNTS, reports_of(whole), rng), rng)
    assert outcome.violations == []
    assert dict(outcome.faults) == COUNTS
    assert outcome.study is not None
    # the winner depends on the order of reports; halving keeps trials at least as good as the first one
    assert accounts.score(outcome.study) > min(whole[0].values.values())


def reports_of(study: Study) -> int:
    return sum(len(trial.values) for trial in study)
