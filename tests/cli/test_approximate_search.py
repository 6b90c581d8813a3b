"""``python -m themo search --approximate``, over few pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import ADJECTIVES, NOUNS, SettingsFactory, write_lines, write_picture, write_version_of

import themo
from themo.cli import approximate_search
from themo.cli.approximate_search import open_approximate
from themo.cli.main import main
from themo.image_search import approximate
from themo.image_search.answers import Answerer
from themo.image_search.index import ImageIndex
from themo.image_search.pictures import find_pictures
from themo.image_search.query import Query
from themo.image_search.serving.collection import Collection

Capture = pytest.CaptureFixture[str]
Search = Callable[..., Any]
N = 40
TEXT = "el niño corre"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    random = np.random.default_rng(0)
    pictures = tmp_path_factory.mktemp("approximate") / "pictures"
    for i in range(N):
        write_picture(pictures / f"{i:02d}.jpg", random)
    return pictures


@pytest.fixture
def version(tmp_path: Path, settings: SettingsFactory) -> Path:
    names = [f"{noun} {adjective}" for noun in NOUNS.values() for adjective in ADJECTIVES.values()]
    rows = [f"n{i:08}\tno\t{text}" for i, text in enumerate(names)]
    prompts = write_lines(tmp_path / "prompts.tsv", ["synset\ten\tes", *rows])
    own = settings(prompts=str(prompts))
    return write_version_of(own, tmp_path / "logs" / "tiny" / "version_0", dimension=12)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few pictures count as many."""
    monkeypatch.setattr(approximate, "FEWEST_PICTURES", N)
    monkeypatch.setattr(approximate, "MOST_CANDIDATES", 10.0)


@pytest.fixture
def search(version: Path, folder: Path, capsys: Capture) -> Search:
    """Search as JSON, without folding; return the result and the lines on standard error."""

    def run(*arguments: object) -> tuple[Any, list[str]]:
        rest = ["--images", folder, "--version-path", version, "--json", "--duplicates"]
        assert main(["search", *map(str, [*arguments, *rest])]) == 0
        out, err = capsys.readouterr()
        return json.loads(out), err.splitlines()

    return run


def paths(result: dict[str, Any]) -> list[list[str]]:
    return [[match["path"] for match in query["matches"]] for query in result["queries"]]


@pytest.mark.usefixtures("few")
def test_candidates_of_all_lists_give_the_exact_answer(search: Search, folder: Path) -> None:
    arguments = [TEXT, "el gato", "--plus", "rojo", "--like", folder / "01.jpg", "--minus", "el perro"]
    for query in (arguments, [TEXT], ["--like", folder / "02.jpg"]):
        exact, _ = search(*query)
        result, err = search(*query, "--approximate")
        assert paths(result) == paths(exact)
        for ours, theirs in zip(result["queries"], exact["queries"], strict=True):
            for key in ("score", "chance"):
                found, expected = ([m[key] for m in each["matches"]] for each in (ours, theirs))
                assert found == pytest.approx(expected, abs=1e-5, nan_ok=True)
            assert (ours["approximate"], theirs["approximate"]) == (True, False)
        assert exact["approximate"] is None
        recall = result["approximate"]
        assert (recall["sample"], recall["n_texts"]) == ("reference texts", len(NOUNS) * len(ADJECTIVES))
        assert recall["recall@10"] >= approximate.LEAST_RECALL
        assert err[-1].startswith(
            f"Approximate: {recall['recall@10']:.1%} of the ten best pictures are found"
        )


@pytest.mark.usefixtures("few")
def test_min_chance_holds_for_candidates(search: Search) -> None:
    chances = [match["chance"] for match in search(TEXT, "--approximate")[0]["queries"][0]["matches"]]
    middle = float(np.median(chances))
    result, _ = search(TEXT, "--approximate", "--min-chance", middle)
    assert [m["chance"] for m in result["queries"][0]["matches"]] == [c for c in chances if c >= middle]


@pytest.mark.usefixtures("few")
def test_recall_is_stated_where_it_was_measured(search: Search) -> None:
    _, err = search(TEXT, "--approximate", "--top", 20)
    assert err[-1].endswith("reference texts; the share of the best 20 is not known")
    result, err = search(TEXT, "--approximate", "--top", 21)  # 20 candidates each, of 40 pictures 10 times
    assert result["approximate"] is None
    assert (
        err[-1] == f"--approximate: all pictures are compared: --top 21 is above 1 in 2 of the {N} pictures"
    )


def test_a_small_folder_is_named_and_compared_whole(search: Search) -> None:
    result, err = search(TEXT, "--approximate")
    assert result["approximate"] is None
    assert not result["queries"][0]["approximate"]
    assert err[-1] == (
        "--approximate: all pictures are compared: "
        f"below 50,000 pictures this is fast enough, and the folder has {N}"
    )


def test_without_faiss_the_command_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def find_spec(name: str) -> ModuleSpec | None:
        assert name == "faiss"
        return None

    monkeypatch.setattr(approximate_search, "find_spec", find_spec)
    assert main(["search", "a", "--images", str(tmp_path), "--approximate"]) == 2
    out, err = capsys.readouterr()
    assert (out, err) == (
        "",
        "Error: --approximate: needs faiss, which is not installed: pip install faiss-cpu\n",
    )


@pytest.fixture
def answerer(version: Path, folder: Path, few: None, tmp_path: Path) -> Answerer:
    model = themo.load(version)
    found = find_pictures(folder, lambda _: None)
    cache = Path(model.settings.paths.cache_dir)
    index = ImageIndex.update(cache, folder, found, model.teacher_fingerprint, lambda: model.teacher)
    return Answerer(model, index, open_approximate(index, model, 10))


def test_the_page_finds_similar_pictures_by_candidates(answerer: Answerer, folder: Path) -> None:
    approximate_page = Collection(folder, answerer, "v", fold_duplicates=False)
    exact_page = Collection(folder, Answerer(answerer.model, answerer.index), "v", fold_duplicates=False)
    for ask in (lambda page: page.similar_to(3, 5), lambda page: page.by_text(TEXT, 5)):
        ours, theirs = ask(approximate_page)["matches"], ask(exact_page)["matches"]
        assert [match["name"] for match in ours] == [match["name"] for match in theirs]


def test_too_few_different_candidates_mean_all(answerer: Answerer, monkeypatch: pytest.MonkeyPatch) -> None:
    three = answerer.index.part(np.arange(3))
    monkeypatch.setattr(answerer.approximate, "part", lambda *_: three)
    (answer,) = answerer.answer([Query((TEXT,))], 5, fold_duplicates=False)
    assert not answer.is_approximate
    assert len(answer.matches) == 5
    (answer,) = answerer.answer([Query((TEXT,))], 3, fold_duplicates=False)
    assert answer.is_approximate
