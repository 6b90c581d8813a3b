"""Changes of a search when it is resumed."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from filelock import FileLock
from formula_search import a_search

from themo.errors import InputError
from tune.cluster.resources import Resources
from tune.space.search_space import from_tree
from tune.study.confirmation import Confirmation
from tune.study.growth import grow, refuse_another_space
from tune.study.limits import wants_more
from tune.study.search import read_search
from tune.study.study import Study


def test_a_share_for_confirmation_changes_until_it_begins(tmp_path):
    search = a_search(tmp_path, "mine", Resources())
    folder = tmp_path / "tune" / "mine"
    assert grow(search, confirm=1.5).space.search.confirm == 1.5
    assert read_search(folder).space.search.confirm == 1.5
    study = Study(folder / "study.json", search.mode)
    for _ in range(2):
        study.add({})
    study.plan_confirmation(Confirmation(0, (1,), None, (1, 2)))
    study.save()
    with pytest.raises(
        InputError,
        match=r"--confirm: must be off or left out, the confirmation of mine has started: a test that "
        r"continues until it succeeds proves nothing, got 2$",
    ):
        grow(search, confirm=2.0)
    assert grow(search, confirm=0.0).space.search.confirm == 0.0


def test_a_search_grows_but_not_below_its_trials(tmp_path):
    search = a_search(tmp_path, "mine", Resources())
    folder = tmp_path / "tune" / "mine"
    study = Study(folder / "study.json", search.mode)
    for _ in range(3):
        study.add({})
    assert grow(search, 40).space.search.num_samples == 40
    assert read_search(folder).space.search.num_samples == 40
    assert grow(search, 3).space.search.num_samples == 3
    patient = grow(search, stop_after_no_gain=5).space.search
    assert (patient.num_samples, patient.stop_after_no_gain) == (8, 5)
    with pytest.raises(
        InputError, match=r"--num-samples: must be at least the 3 trials that mine has, got 2"
    ):
        grow(search, 2)
    with FileLock(folder / ".lock"), pytest.raises(InputError, match="another process runs the search"):
        grow(search, 50)


def test_a_search_without_gain_needs_a_larger_patience(tmp_path):
    search = a_search(tmp_path, "mine", Resources(), num_samples=8, stop_after_no_gain=2)
    folder = tmp_path / "tune" / "mine"
    study = Study(folder / "study.json", search.mode)
    for value in (0.5, 0.4, 0.3, 0.2):
        number = study.add({}).number
        study.report(number, {"pairs_seen": 1, "o": value}, "o")
        study.finish(number, "COMPLETE")
    for more in (
        {"num_samples": 64},
        {"stop_after_no_gain": 3},
        {"num_samples": 64, "stop_after_no_gain": 3},
    ):
        got = more.get("stop_after_no_gain", 2)
        with pytest.raises(InputError) as caught:
            grow(search, **more)
        assert str(caught.value) == (
            "--stop-after-no-gain: must be at least 4 for mine to start more trials, the last 3 brought "
            f"no gain, got {got}"
        )
        assert read_search(folder) == search
    assert grow(search, num_samples=6).space.search.num_samples == 6  # what asks for no more may be asked for
    assert grow(search, stop_after_no_gain=1).space.search.stop_after_no_gain == 1
    assert wants_more(study, grow(search, stop_after_no_gain="off").space)
    grown = grow(search, num_samples=64, stop_after_no_gain=4)
    assert wants_more(study, grown.space)
    assert wants_more(study, read_search(folder).space)


def test_a_search_with_little_to_gain_needs_wider_limits(tmp_path):
    limits = {"num_samples": 11, "searcher": "random", "stop_gain": 0.2}
    search = a_search(tmp_path, "mine", Resources(), **limits)
    study = Study(tmp_path / "tune" / "mine" / "study.json", search.mode)
    for value in (0.5, *[0.6] * 8):
        number = study.add({}).number
        study.report(number, {"pairs_seen": 1, "o": value}, "o")
        study.finish(number, "COMPLETE")
    assert not wants_more(study, search.space)
    for more, n_left, amount, limit in (
        ({"num_samples": 12, "stop_chance": 0.3}, 3, 0.2, 0.3),
        ({"stop_chance": 0.04}, 2, 0.2, 0.04),
        ({"stop_gain": 0.19}, 2, 0.19, 0.05),
    ):
        with pytest.raises(InputError) as caught:
            grow(search, **more)
        q = (0.8 / (0.8 + amount)) ** 8
        most = math.floor(1000 * n_left * q / (9 + n_left * q)) / 1000
        assert str(caught.value) == (
            f"--stop-chance: must be at most {most:g} for mine to start more trials, the chance that the "
            f"remaining {n_left} gain more than {amount:g}, got {limit:g}"
        )
        assert read_search(tmp_path / "tune" / "mine") == search
    assert grow(search, stop_chance=0.2).space.search.stop_chance == 0.2  # asks for no more
    for more in ({"num_samples": 20}, {"stop_chance": 0.03}, {"stop_gain": 0.05}, {"stop_gain": "off"}):
        assert wants_more(study, grow(search, **more).space)
        assert wants_more(study, read_search(tmp_path / "tune" / "mine").space)


@pytest.mark.parametrize(
    "more", [{"stop_gain": 0.1}, {"stop_gain": "off"}, {"stop_chance": 0.01}, {"stop_after_no_gain": 9}]
)
def test_a_search_that_has_run_whole_needs_more_trials(tmp_path, more):
    limits = {"num_samples": 3, "searcher": "random", "stop_gain": 0.2, "stop_after_no_gain": 8}
    search = a_search(tmp_path, "mine", Resources(), **limits)
    study = Study(tmp_path / "tune" / "mine" / "study.json", search.mode)
    for value in (0.5, 0.6, 0.6):
        number = study.add({}).number
        study.report(number, {"pairs_seen": 1, "o": value}, "o")
        study.finish(number, "COMPLETE")
    with pytest.raises(InputError) as caught:
        grow(search, **more)
    assert str(caught.value) == (
        "--num-samples: must be above 3 for mine to start more trials, all of its 3 have started, got 3"
    )
    assert read_search(tmp_path / "tune" / "mine") == search


def test_early_ends_are_refused_with_pbt(tmp_path):
    search = a_search(tmp_path, "mine", Resources(), scheduler="pbt")
    with pytest.raises(InputError, match=r"^--stop-after-no-gain: must be left out, scheduler pbt has no"):
        grow(search, stop_after_no_gain=4)
    with pytest.raises(InputError, match=r"^--stop-gain: must be left out, scheduler pbt has no"):
        grow(search, stop_gain=0.1)


def test_another_space_is_refused_with_the_differences(tmp_path):
    search = a_search(tmp_path, "mine", Resources())
    refuse_another_space(search, search.space, Path("same.yaml"))
    tree = search.space.to_tree()
    tree["space"] |= {"learn_rate": {"uniform": [1e-5, 1e-2]}, "loss": {"choice": ["mse", "cosine"]}}
    tree["search"] |= {"grace_pairs": 7, "num_samples": 99}
    other = from_tree(tree, search.settings, source="other.yaml")
    with pytest.raises(InputError) as caught:
        refuse_another_space(search, other, Path("other.yaml"))
    assert str(caught.value) == (
        "--space other.yaml: must be the space of mine, space.learn_rate, space.loss, "
        "search.grace_pairs, first differ: start a new search with --warm-start mine"
    )
