"""A search's directory and description."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from filelock import FileLock
from formula_search import a_search, settings_in

from themo import __version__
from themo.errors import InputError
from tune.cluster.resources import Resources
from tune.results.status import read_all
from tune.space.search_space import from_tree
from tune.study.confirmation import Confirmation
from tune.study.limits import wants_more
from tune.study.naming import search_folder
from tune.study.search import (
    discard_untried,
    grow,
    has_pairs,
    new_search,
    read_search,
    refuse_another_space,
    refuse_other_pairs,
)
from tune.study.study import Study


def test_a_search_is_written_down_before_it_starts(tmp_path):
    search = a_search(tmp_path, "mine", Resources(max_concurrent=1))
    assert read_search(search_folder("mine", settings_in(tmp_path))) == search


def test_a_name_that_exists_is_refused_and_nothing_is_touched(tmp_path):
    search = a_search(tmp_path, "mine", Resources())
    with pytest.raises(InputError, match=r"--name: a search 'mine' exists at .*mine: .* or --resume mine"):
        a_search(tmp_path, "mine", Resources())
    assert read_search(tmp_path / "tune" / "mine") == search


@pytest.mark.parametrize("name", ["", "../x", "a b", ".hidden", "a/b"])
def test_a_name_that_is_no_folder_is_refused(tmp_path, name):
    with pytest.raises(InputError, match=r"--name must be letters, digits"):
        a_search(tmp_path, name, Resources())


def test_there_must_be_something_to_resume(tmp_path):
    with pytest.raises(
        InputError, match=r"--resume: there is no search at .*nothing: it holds no search.yaml"
    ):
        read_search(tmp_path / "nothing")


@pytest.mark.parametrize("damage", ["name: x\n", "settings: 3\n", "a: [\n"])
def test_a_damaged_description_is_refused(tmp_path, damage):
    a_search(tmp_path, "mine", Resources())
    (tmp_path / "tune" / "mine" / "search.yaml").write_text(damage)
    with pytest.raises(InputError, match=r"search\.yaml"):
        read_search(tmp_path / "tune" / "mine")


def test_threads_are_settled_so_that_the_winner_can_be_repeated(tmp_path):
    settings = settings_in(tmp_path).override({"threads": 0})
    space = a_search(tmp_path, "one", Resources()).space
    search = new_search("two", space, settings, Resources(cpus_per_trial=2.5))
    assert search.settings.training.threads == 2


def test_another_version_of_themo_reads_but_cannot_resume(tmp_path):
    search = a_search(tmp_path, "mine", Resources())
    path = tmp_path / "tune" / "mine" / "search.yaml"
    path.write_text(path.read_text().replace(f"themo: {__version__}", "themo: 0.0.7"))
    with pytest.raises(InputError, match=r"search\.yaml: was started by themo 0\.0\.7, this is"):
        read_search(path.parent, to_go_on=True)
    for asked_by in ("status NAME", "report NAME", "--warm-start", "--repeat"):
        assert read_search(path.parent, asked_by) == search
    assert [status.search for status in read_all(tmp_path)] == [search]
    path.write_text(path.read_text().replace("settings:", "sittings:"))
    rule = r"search\.yaml: is not a complete search definition, started by themo 0\.0\.7, .*: 'settings'"
    with pytest.raises(InputError, match=rule):
        read_search(path.parent, "status NAME")


def test_a_search_resumes_only_with_its_own_pairs(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    for _ in range(2):
        refuse_other_pairs(folder, {"()": "corpus-of-then"})
    rule = r"mine/pairs\.json: the search was started with other sentence pairs: .*: --repeat mine$"
    with pytest.raises(InputError, match=rule):
        refuse_other_pairs(folder, {"()": "corpus-of-now"})


def test_the_pairs_are_fixed_once_written_or_tried(tmp_path):
    search = a_search(tmp_path, "mine", Resources())
    folder = tmp_path / "tune" / "mine"
    study = Study(folder / "study.json", search.mode)
    study.save()
    assert not has_pairs(search)
    study.add({})
    assert has_pairs(search), "of an older version, which wrote none down"
    (folder / "study.json").unlink()
    refuse_other_pairs(folder, {"()": "corpus"})
    assert has_pairs(search)


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
        match=r"--confirm: must be off or left out, the confirmation of mine has begun: a test that "
        r"continues until it succeeds proves nothing, got 2$",
    ):
        grow(search, confirm=2.0)
    assert grow(search, confirm=0.0).space.search.confirm == 0.0


def test_a_search_grows_but_not_below_what_it_has(tmp_path):
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


@pytest.mark.parametrize("more", [{"stop_gain": 0.1}, {"stop_chance": 0.01}, {"stop_after_no_gain": 9}])
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
        "--num-samples: must be above 3 for mine to start more trials, all of its 3 have begun, got 3"
    )
    assert read_search(tmp_path / "tune" / "mine") == search


def test_a_population_is_not_given_an_end_that_it_cannot_have(tmp_path):
    search = a_search(tmp_path, "mine", Resources(), scheduler="pbt")
    with pytest.raises(InputError, match=r"^--stop-after-no-gain: must be left out, scheduler pbt has no"):
        grow(search, stop_after_no_gain=4)
    with pytest.raises(InputError, match=r"^--stop-gain: must be left out, scheduler pbt has no"):
        grow(search, stop_gain=0.1)


def test_another_space_is_refused_and_what_differs_is_named(tmp_path):
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


@pytest.mark.parametrize("step", ["tune.study.search.write_text", "tune.study.search.write_yaml"])
def test_a_kill_while_a_search_is_made_leaves_its_name_free(tmp_path, monkeypatch, step):
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(step, die)
        with pytest.raises(KeyboardInterrupt):
            a_search(tmp_path, "mine", Resources())
    assert read_all(tmp_path) == []
    search = a_search(tmp_path, "mine", Resources())
    assert [status.search for status in read_all(tmp_path)] == [search]


def test_a_search_resumed_by_another_process_is_kept(tmp_path):
    search = a_search(tmp_path, "mine", Resources())
    folder = tmp_path / "tune" / "mine"
    with FileLock(folder / ".lock"):
        discard_untried(search)
    assert read_search(folder) == search


def test_a_discarded_search_is_not_resumed(tmp_path):
    search = a_search(tmp_path, "mine", Resources())
    discard_untried(search)
    with pytest.raises(InputError, match=r"--resume: there is no search at .*mine any more"):
        grow(search, 40)
    assert a_search(tmp_path, "mine", Resources()).name == "mine"


def test_only_a_search_without_a_trial_is_discarded(tmp_path):
    search = a_search(tmp_path, "mine", Resources())
    folder = tmp_path / "tune" / "mine"
    study = Study(folder / "study.json", search.mode)
    study.add({})
    discard_untried(search)
    assert folder.exists()
    Study(folder / "study.json", search.mode).save()
    discard_untried(search)
    assert not folder.exists()
