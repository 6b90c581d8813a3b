"""A search's directory and description."""

from __future__ import annotations

import pytest
from filelock import FileLock
from formula_search import a_search, settings_in

from themo import __version__
from themo.errors import InputError
from tune.cluster.resources import Resources
from tune.results.status import read_all
from tune.study.growth import grow
from tune.study.naming import search_folder
from tune.study.search import discard_untried, has_pairs, new_search, read_search, refuse_other_pairs
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


def test_a_name_too_long_for_a_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"^--name must have at most 255 characters, got 256$"):
        a_search(tmp_path, "a" * 256, Resources())


def test_there_must_be_something_to_resume(tmp_path):
    with pytest.raises(
        InputError, match=r"--resume: there is no search at .*nothing: search.yaml is missing"
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
        read_search(path.parent, to_resume=True)
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
        refuse_other_pairs(folder, {"()": "corpus-of-then"}, {"()": "targets-of-then"})
    rule = r"mine/pairs\.json: the search was started with other sentence pairs: .*: --repeat mine$"
    with pytest.raises(InputError, match=rule):
        refuse_other_pairs(folder, {"()": "corpus-of-now"}, {"()": "targets-of-then"})
    rule = r"mine/pairs\.json: the search was started with other teacher vectors: .*: --repeat mine$"
    with pytest.raises(InputError, match=rule):
        refuse_other_pairs(folder, {"()": "corpus-of-then"}, {"()": "targets-of-now"})


def test_a_search_that_knows_no_vectors_resumes(tmp_path):
    """Of an older version."""
    (tmp_path / "pairs.json").write_text('{"()": "corpus"}', encoding="utf-8")
    refuse_other_pairs(tmp_path, {"()": "corpus"}, {"()": "targets"})


@pytest.mark.parametrize("damage", [b'{"a": ', b"\xff"])
def test_damaged_pairs_are_refused(tmp_path, damage):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "pairs.json").write_bytes(damage)
    with pytest.raises(InputError, match=r"^--resume: .*mine/pairs\.json: is damaged: .*: --repeat mine$"):
        refuse_other_pairs(folder, {"()": "corpus"}, {})
    assert (folder / "pairs.json").read_bytes() == damage


def test_the_pairs_are_fixed_once_written_or_tried(tmp_path):
    search = a_search(tmp_path, "mine", Resources())
    folder = tmp_path / "tune" / "mine"
    study = Study(folder / "study.json", search.mode)
    study.save()
    assert not has_pairs(search)
    study.add({})
    assert has_pairs(search), "of an older version, which wrote none down"
    (folder / "study.json").unlink()
    refuse_other_pairs(folder, {"()": "corpus"}, {})
    assert has_pairs(search)


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
    with pytest.raises(InputError, match=r"--resume: the search at .*mine no longer exists"):
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
