"""The first rung as a share of a whole trial, and rungs that stop nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from formula_search import no_data, settings_in
from hypothesis import example, given
from hypothesis import strategies as st

from themo.cli.main import parse
from themo.config.presets import space_path
from themo.config.settings import Settings, load
from themo.data.dataset import TrainingData
from themo.errors import InputError
from themo.training.report_times import is_due
from tune.cluster.resources import Resources
from tune.driver.request import begin, resume
from tune.driver.rungs_in_pairs import idle_rungs, print_idle_rungs, with_rungs
from tune.schedulers.rules import scheduler_of
from tune.schedulers.rungs import Rungs
from tune.space.search_settings import SchedulerName
from tune.space.search_space import Space, from_tree
from tune.space.search_space import load as load_space
from tune.study.growth import grow, refuse_another_space
from tune.study.naming import STUDY_FILE
from tune.study.search import Search, new_search, read_search
from tune.study.study import Study

SPACE: dict[str, Any] = {"learn_rate": {"log_uniform": [1e-5, 1e-2]}}
MINIATURE_PAIRS = 47_983
"""Training pairs of the miniature: 48,000 of its corpus without 17 duplicates."""


def data_of(settings: Settings, n_pairs: int) -> TrainingData:
    return replace(no_data(settings), parts=((n_pairs, 1.0),))


def space_with(settings: Settings, space: Mapping[str, Any] = SPACE, **search: object) -> Space:
    return from_tree({"space": space, "search": search}, settings, source="x.yaml")


@pytest.fixture
def base(tmp_path: Path) -> Settings:
    return settings_in(tmp_path).override({"epochs": 3.0, "report_pairs": 8000})


def a_search(base: Settings, space: Mapping[str, Any] = SPACE, **search: object) -> Search:
    return new_search("mine", space_with(base, space, **search), base, Resources())


def begun(search: Search, n_pairs: int) -> Search:
    return with_rungs(search, {(): data_of(search.settings, n_pairs)})


def test_a_share_becomes_pairs_when_the_search_begins(base: Settings) -> None:
    new = a_search(base, grace_share=0.1)
    assert new.space.search.grace_pairs is None
    assert read_search(new.folder) == new
    search = begun(new, 3000)
    assert search.space.search.first_rung == 900
    assert read_search(search.folder) == search
    assert "first_rung: 900" in (search.folder / "search.yaml").read_text(encoding="utf-8")


def test_a_search_that_began_keeps_its_rungs(base: Settings) -> None:
    search = begun(a_search(base, grace_share=0.1), 3000)
    assert begun(read_search(search.folder), 99_000).space.search.first_rung == 900
    grown = grow(search, 64)
    assert (grown.space.search.num_samples, grown.space.search.first_rung) == (64, 900)
    assert read_search(search.folder) == grown


def test_pairs_are_kept_as_they_are_given(base: Settings) -> None:
    search = a_search(base, grace_pairs=500)
    assert begun(search, 3000) is search
    assert "first_rung" not in search.to_tree()


def test_the_same_share_resumes_and_another_is_refused(base: Settings) -> None:
    search = begun(a_search(base, grace_share=0.1), 3000)
    refuse_another_space(search, space_with(base, grace_share=0.1), "x.yaml")
    with pytest.raises(InputError, match=r"search\.grace_share differ: start a new search"):
        refuse_another_space(search, space_with(base, grace_share=0.2), "x.yaml")
    with pytest.raises(InputError, match=r"search\.grace_\w+, search\.grace_\w+ differ"):
        refuse_another_space(search, space_with(base, grace_pairs=900), "x.yaml")


def test_a_repeated_search_takes_the_share_of_its_own_data(base: Settings) -> None:
    search = begun(a_search(base, grace_share=0.1), 3000)
    words = ["--logs-dir", base.paths.logs_dir]
    options = parse(["tune", "--repeat", "mine", "--name", "again", *words])
    again = begin(options, load(overrides=options.settings))
    assert (again.space.search.grace_share, again.space.search.grace_pairs) == (0.1, None)
    options = parse(["tune", "--resume", "mine", *words])
    assert resume(options, load(overrides=options.settings)).space == search.space


def test_the_share_is_of_the_base_settings(base: Settings) -> None:
    space = SPACE | {"max_pairs": {"choice": [100, None]}, "epochs": {"choice": [1.0, 9.0]}}
    search = a_search(base, space, grace_share=0.5)
    data = {(100,): data_of(base, 100), (None,): data_of(base, 1000)}
    assert with_rungs(search, data).space.search.first_rung == 1500


def test_a_base_outside_the_space_takes_the_first_data(base: Settings) -> None:
    search = a_search(base, SPACE | {"max_pairs": {"choice": [100, 200]}}, grace_share=0.5)
    data = {(100,): data_of(base, 100), (200,): data_of(base, 200)}
    assert with_rungs(search, data).space.search.first_rung == 150


@pytest.mark.parametrize("scheduler", get_args(SchedulerName))
def test_every_scheduler_takes_a_share(base: Settings, scheduler: str) -> None:
    space = space_with(base, grace_share=0.25, scheduler=scheduler)
    assert scheduler_of(space.for_trials(400).search).is_judged(0, 99, 100)
    if scheduler != "freeze-thaw":  # it takes nothing but a share
        given_pairs = space_with(base, grace_pairs=100, scheduler=scheduler)
        assert scheduler_of(given_pairs.search).is_judged(0, 99, 100)
        if scheduler != "pausing-asha":  # it holds all settings of the search
            assert scheduler_of(space.for_trials(400).search) == scheduler_of(given_pairs.search)
    with pytest.raises(ValueError, match=r"grace_share 0\.25 has no sentence pairs before the search begins"):
        scheduler_of(space.search)


BOTH = {"grace_pairs": 80, "grace_share": 0.1}


@pytest.mark.parametrize(
    ("search", "message"),
    [
        (BOTH, r"must have one of grace_pairs and grace_share, got 80 and 0\.1"),
        ({"grace_share": 0}, r"grace_share: must be greater than 0, got 0"),
        ({"grace_share": 1.0}, r"grace_share: must be less than 1, got 1\.0"),
        ({"grace_share": 1.5}, r"grace_share: must be less than 1, got 1\.5"),
        ({"grace_pairs": 0}, r"grace_pairs: must be greater than or equal to 1, got 0"),
        ({"reduction_factor": 1.0}, r"reduction_factor: must be greater than 1, got 1\.0"),
        ({"reduction_factor": 0.5}, r"reduction_factor: must be greater than 1, got 0\.5"),
    ],
)  # fmt: skip
def test_rungs_out_of_order_or_beyond_a_trial_are_refused(
    base: Settings, search: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=rf"^x\.yaml: search[.:] ?{message}$"):
        space_with(base, **search)


def test_a_change_to_pairs_replaces_the_share(base: Settings) -> None:
    space = space_with(base, grace_share=0.1)
    assert space.searched_by(grace_pairs=7).search.grace_share is None
    assert space.searched_by(scheduler="median").search.grace_share == 0.1
    assert space_with(base).searched_by(grace_share=0.1).search.grace_pairs is None


def warning(settings: Settings, n_pairs: int, space: Mapping[str, Any] = SPACE, **search: object) -> str:
    data = data_of(settings, n_pairs)
    whole = settings.training.epochs * n_pairs
    return idle_rungs(space_with(settings, space, **search).for_trials(whole), settings, [data])


def test_a_first_rung_near_the_end_is_named(base: Settings) -> None:
    """Three epochs of 3,000 pairs report every 1,600 pairs, before their end at 8,000."""
    assert warning(base, 3000, grace_pairs=8000) == (
        "Warning: the scheduler asha can stop trials only shortly before their end: its first rung is at "
        "8,000 sentence pairs, a whole trial has 9,000 and is judged last at 8,000; lower search.grace_pairs "
        "so that it is at most 6,400 pairs, or train for more epochs"
    )
    assert not warning(base, 3000, grace_pairs=6400)


@pytest.mark.parametrize("is_begun", [False, True])
def test_idle_rungs_are_printed_before_a_new_search_begins(
    base: Settings, capsys: pytest.CaptureFixture[str], is_begun: bool
) -> None:
    search = a_search(base, grace_pairs=8000)
    if is_begun:
        Study(search.folder / STUDY_FILE, "max").save()
        (search.folder / "pairs.json").write_text("{}", encoding="utf-8")

    print_idle_rungs(search, [data_of(base, 3000)])
    printed = capsys.readouterr().err.splitlines()
    assert printed == ([] if is_begun else [warning(base, 3000, grace_pairs=8000)])


@pytest.mark.parametrize("scheduler", get_args(SchedulerName))
def test_a_first_rung_beyond_the_last_report_is_named(base: Settings, scheduler: str) -> None:
    printed = warning(base, 3000, scheduler=scheduler, grace_share=0.95)
    if scheduler == "none":
        assert not printed
    else:
        assert f"the scheduler {scheduler} can stop no trial: its first rung is at 8,550" in printed
        assert "lower search.grace_share so that it is at most 6,400 pairs" in printed
    assert not warning(base, 3000, scheduler=scheduler, grace_share=0.055)


def test_the_longest_trial_counts(base: Settings) -> None:
    for epochs in ({"choice": [1.0, 9.0]}, {"uniform": [1, 9]}):
        assert not warning(base, 3000, SPACE | {"epochs": epochs}, grace_pairs=8000)
    assert warning(base, 3000, SPACE | {"epochs": {"choice": [1.0, 2.0]}}, grace_pairs=8000)


@given(
    n_pairs=st.integers(50, 20_000),
    epochs=st.sampled_from([0.5, 1.0, 3.0]),
    report_pairs=st.integers(10, 30_000),
    grace=st.integers(1, 60_000),
)
@example(n_pairs=50, epochs=0.5, report_pairs=51, grace=14)
def test_a_warning_comes_where_no_early_report_is_judged(
    tmp_path_factory: pytest.TempPathFactory, n_pairs: int, epochs: float, report_pairs: int, grace: int
) -> None:
    settings = settings_in(tmp_path_factory.getbasetemp())
    settings = settings.override({"epochs": epochs, "report_pairs": report_pairs})
    total = math.ceil(epochs * n_pairs)  # one pair a step
    due = [after for after in range(1, total) if is_due(after - 1, after, epochs * n_pairs, report_pairs)]
    is_early = bool(due[:-1]) and grace <= due[-2]
    assert bool(warning(settings, n_pairs, grace_pairs=grace)) != is_early


@pytest.mark.parametrize("batch_size", range(32, 257, 16))
def test_the_shipped_share_judges_where_8000_pairs_did(batch_size: int) -> None:
    settings = load()
    whole = settings.training.epochs * MINIATURE_PAIRS
    search = load_space(space_path(), settings).for_trials(whole).search
    steps = math.ceil(MINIATURE_PAIRS / batch_size)
    seen = [
        epoch * MINIATURE_PAIRS + min((step + 1) * batch_size, MINIATURE_PAIRS)
        for epoch in range(round(settings.training.epochs))
        for step in range(steps)
    ]
    reports = [
        after
        for before, after in zip([0, *seen], seen, strict=False)
        if is_due(before, after, whole, settings.training.report_pairs)
    ]

    def judged(first: int) -> list[int]:
        rungs = Rungs(first, search.reduction_factor)
        befores = [0, *reports[:-1]]
        return [a for b, a in zip(befores, reports, strict=True) if rungs.between(b, a) is not None]

    assert search.first_rung == 7917
    assert judged(search.first_rung) == judged(8000)
    assert len(judged(8000)) == 3
