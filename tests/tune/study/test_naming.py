"""The name of a new search: taken once, by whoever comes first, and seen from then on."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from formula_search import a_search, settings_in

from themo.cli.main import main
from themo.config.settings import Settings
from themo.errors import InputError
from tune.cluster.resources import Resources
from tune.study import naming
from tune.study.naming import is_starting, reserve
from tune.study.search import new_search, read_search


@pytest.fixture
def one_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now = SimpleNamespace(astimezone=lambda: SimpleNamespace(strftime=lambda _: "2026-11-28_10-00-00"))
    monkeypatch.setattr(naming, "datetime", SimpleNamespace(now=lambda: now))


def test_searches_of_one_second_get_names_of_their_own(one_second: None, tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        places = list(pool.map(lambda _: reserve(None, settings), range(8)))
    names = {place.folder.name for place in places}
    assert len(names) == 8
    assert "2026-11-28_10-00-00" in names
    assert all(name.startswith("2026-11-28_10-00-00") for name in names)
    for place in places:
        place.__exit__(None, None, None)
    assert not list(tmp_path.glob("tune/*"))


def test_a_default_name_passes_over_searches_that_there_are(one_second: None, tmp_path: Path) -> None:
    a_search(tmp_path, "2026-11-28_10-00-00", Resources())
    with reserve(None, settings_in(tmp_path)) as place:
        assert place.folder.name == "2026-11-28_10-00-00-2"


def test_a_name_that_is_given_is_refused_where_it_is_taken(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with (
        reserve("mine", settings),
        pytest.raises(InputError, match=r"^--name: another process is starting a search 'mine' at .*mine: "),
    ):
        reserve("mine", settings)
    a_search(tmp_path, "mine", Resources())
    with pytest.raises(InputError, match=r"^--name: a search 'mine' exists at .*, or --resume mine$"):
        reserve("mine", settings)
    (tmp_path / "tune" / "notes").mkdir()
    (tmp_path / "tune" / "notes" / "mine.txt").touch()
    with pytest.raises(InputError, match=r"^--name: a search 'notes' exists at "):
        reserve("notes", settings)
    assert (tmp_path / "tune" / "notes" / "mine.txt").exists()


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tune").touch()
    with pytest.raises(InputError, match=r"^--name: .*/tune/mine cannot be written: "):
        reserve("mine", settings_in(tmp_path))


def test_a_refused_search_leaves_nothing_and_its_name_free(tmp_path: Path) -> None:
    settings = settings_in(tmp_path / "logs")
    with pytest.raises(InputError, match="no"), reserve("mine", settings):
        raise InputError("no")
    assert list(tmp_path.iterdir()) == []
    a_search(tmp_path / "logs", "mine", Resources())


def test_a_killed_start_leaves_its_name_free(tmp_path: Path, tiny_settings: Settings) -> None:
    """Also a search that was killed while it wrote its carried trials."""
    folder = tmp_path / "tune" / "mine"
    folder.mkdir(parents=True)
    for name in (".lock", "study.json", ".search.yaml.77.tmp"):
        (folder / name).touch()
    search = a_search(tmp_path, "mine", Resources())
    assert read_search(folder) == search


def test_a_search_is_made_in_the_place_that_was_reserved(tmp_path: Path) -> None:
    known = a_search(tmp_path, "old", Resources())
    with reserve("new", known.settings) as place:
        assert is_starting(place.folder)
        search = new_search("new", known.space, known.settings, Resources(), place=place)
        assert not is_starting(place.folder)
    assert read_search(tmp_path / "tune" / "new") == search


def test_a_search_that_is_starting_is_seen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--logs-dir", str(tmp_path)]
    with reserve("mine", settings_in(tmp_path)):
        assert main(["status", "mine", *where]) == 0
        assert capsys.readouterr().out.startswith("Search mine (starting): ")
        assert main(["status", "mine", "--json", *where]) == 0
        assert json.loads(capsys.readouterr().out) == {"search": "mine", "activity": "starting"}
        assert main(["status", *where]) == 0
        assert "mine starting" in " ".join(capsys.readouterr().out.split())
        assert main(["status", "--json", *where]) == 0
        assert json.loads(capsys.readouterr().out) == {"searches": [], "starting": ["mine"]}
    assert main(["status", "mine", *where]) == 2
    assert "there is no search at" in capsys.readouterr().err


def test_a_name_is_reserved_before_libraries_are_loaded(tmp_path: Path) -> None:
    script = (
        "import sys; from themo.config.settings import load; from tune.study.naming import reserve\n"
        f"with reserve('mine', load(overrides={{'logs_dir': {str(tmp_path)!r}}})):\n"
        "    assert not {'torch', 'transformers', 'ray', 'optuna'} & set(sys.modules), set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_search_is_seen_before_its_options_are_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def refuse(*_: object) -> None:
        seen.append(is_starting(tmp_path / "tune" / "mine"))
        raise InputError("--space: no such file")

    monkeypatch.setattr("tune.driver.request.begin", refuse)
    assert main(["tune", "--name", "mine", "--logs-dir", str(tmp_path)]) == 2
    assert seen == [True]
    assert list(tmp_path.iterdir()) == []
