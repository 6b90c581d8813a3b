"""The queries of ``python -m themo search``: chances, pictures, sums, near-duplicates."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import ADJECTIVES, NOUNS, SettingsFactory, write_lines, write_picture, write_version_of

import themo
from themo.cli.main import main
from themo.image_search.references import load_references

Capture = pytest.CaptureFixture[str]
Search = Callable[..., Any]
N = 24


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    random = np.random.default_rng(0)
    pictures = tmp_path_factory.mktemp("queries") / "pictures"
    for i in range(N):
        write_picture(pictures / f"{i:02d}.jpg", random)
    return pictures


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    names = [f"{noun} {adjective}" for noun in NOUNS.values() for adjective in ADJECTIVES.values()]
    rows = [f"n{i:08}\tno\t{text}" for i, name in enumerate(names) for text in (f"el {name}", name)]
    return write_lines(tmp_path / "prompts.tsv", ["synset\ten\tes", *rows])


@pytest.fixture
def version(tmp_path: Path, settings: SettingsFactory, prompts: Path) -> Path:
    own = settings(prompts=str(prompts))
    return write_version_of(own, tmp_path / "logs" / "tiny" / "version_0", dimension=12)


@pytest.fixture
def search(version: Path, folder: Path, capsys: Capture) -> Search:
    """Search as JSON, without folding; return the result and the lines on standard error."""

    def run(*arguments: object, fold: bool = False, images: Path = folder) -> tuple[Any, list[str]]:
        rest = ["--images", images, "--version-path", version, "--json", *([] if fold else ["--duplicates"])]
        assert main(["search", *map(str, [*arguments, *rest])]) == 0
        out, err = capsys.readouterr()
        return json.loads(out), err.splitlines()

    return run


def names(query: dict[str, Any]) -> list[str]:
    return [Path(match["path"]).name for match in query["matches"]]


def test_the_chance_is_that_against_the_class_prompts(search: Search, version: Path, folder: Path) -> None:
    result, _ = search("el niño corre", "--top", N)
    assert result["uncalibrated"] is None
    (query,) = result["queries"]
    model = themo.load(version)
    references = load_references(model)
    assert references.vectors_RE.shape == (len(NOUNS) * len(ADJECTIVES), 12)
    pair = model.encode(["el gato rojo", "gato rojo"], normalize=True).mean(axis=0)
    assert references.vectors_RE[0] == pytest.approx(pair / np.linalg.norm(pair), abs=1e-6)
    text = model.encode("el niño corre", normalize=True)
    cosines = references.vectors_RE @ references.vectors_RE.T
    np.fill_diagonal(cosines, -1)
    others = references.vectors_RE[references.vectors_RE @ text <= cosines.max()]
    paths = [match["path"] for match in query["matches"]]
    pictures = model.encode_images(paths)
    scale = references.logit_scale
    own, rest = np.exp(scale * pictures @ text), np.exp(scale * pictures @ others.T).sum(axis=1)
    np.testing.assert_allclose([match["chance"] for match in query["matches"]], own / (own + rest), rtol=1e-3)


def test_unlikely_matches_are_marked(
    search: Search, version: Path, folder: Path, tmp_path: Path, capsys: Capture
) -> None:
    (query,) = search("el niño corre")[0]["queries"]
    assert query["nothing_like_that"]  # an untrained student prefers no text
    assert len(query["matches"]) == 10
    places = ["--images", str(folder), "--version-path", str(version), "--html", str(tmp_path / "found.html")]
    assert main(["search", "el niño corre", "--duplicates", *places]) == 0
    title, nothing, *lines = capsys.readouterr().out.splitlines()
    assert (title, nothing.strip()) == ("el niño corre", "nothing like that; the nearest:")
    assert all("  unlikely, chance 0.0" in line for line in lines)
    page = (tmp_path / "found.html").read_text(encoding="utf-8")
    assert page.count('<li class="unlikely" title="poco probable: 0,0') == 10
    assert page.count("Nada parecido; lo más cercano:") == 1


def test_min_chance_leaves_out_the_rest(search: Search, version: Path, folder: Path, capsys: Capture) -> None:
    chances = [match["chance"] for match in search("el niño", "--top", N)[0]["queries"][0]["matches"]]
    middle = float(np.median(chances))
    (query,) = search("el niño", "--top", N, "--min-chance", middle)[0]["queries"]
    assert [match["chance"] for match in query["matches"]] == [c for c in chances if c >= middle]
    assert len(query["matches"]) == N // 2
    places = ["--images", str(folder), "--version-path", str(version)]
    assert main(["search", "el niño", "--min-chance", "0.9", *places]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["       nothing with a chance of 0.9 or more"]


def test_a_small_folder_is_said_and_the_cutoff_not_applied(
    search: Search, folder: Path, tmp_path: Path
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    for i in range(3):
        (small / f"{i}.jpg").write_bytes((folder / f"{i:02d}.jpg").read_bytes())
    result, err = search("el niño", "--min-chance", 0.5, images=small)
    reason = "the folder must contain at least 20 different pictures, but has 3"
    assert result["uncalibrated"] == reason
    assert [match["chance"] for match in result["queries"][0]["matches"]] == [None] * 3
    assert err[-1] == f"Matches have no chance: {reason}; --min-chance 0.5 is not applied"


def test_classes_of_one_prompt_are_one_reference(search: Search, prompts: Path) -> None:
    write_lines(prompts, ["synset\ten\tes", *(f"n{i:08}\tno\tel gato rojo" for i in range(60))])
    result, _ = search("el niño")
    assert result["uncalibrated"] == "the student must know the words of 40 reference texts, but knows 1"


def test_a_query_by_picture_finds_it_first(search: Search, folder: Path) -> None:
    result, err = search("--like", folder / "07.jpg", "--top", 3)
    (query,) = result["queries"]
    assert (query["query"], query["texts"], query["like"]) == ("07.jpg", [], [str(folder / "07.jpg")])
    assert names(query)[0] == "07.jpg"
    assert query["matches"][0]["score"] == pytest.approx(1, abs=1e-5)
    assert [match["chance"] for match in query["matches"]] == [None] * 3
    assert not query["nothing_like_that"]
    assert not any("chance" in line for line in err)


def test_texts_and_pictures_are_added_and_subtracted(search: Search, version: Path, folder: Path) -> None:
    arguments = ["el gato", "canta", "--plus", "rojo", "--like", folder / "01.jpg"]
    arguments += ["--minus", "el perro", "--unlike", folder / "02.jpg", "--top", N]
    first, second = search(*arguments)[0]["queries"]
    assert first["query"] == "el gato + rojo + 01.jpg − el perro − 02.jpg"
    assert second["texts"] == ["canta", "rojo"]
    model = themo.load(version)
    pictures = model.encode_images(sorted(map(str, folder.iterdir())))
    texts = model.encode(["el gato", "rojo", "el perro"], normalize=True)
    terms = np.stack([texts[0], texts[1], pictures[1], texts[2], pictures[2]])
    scores = pictures @ terms.T
    order = np.argsort(-((scores / scores.std(axis=0)) @ [1, 1, 1, -1, -1]))
    assert names(first) == [f"{i:02d}.jpg" for i in order]


def test_near_duplicates_are_folded_and_counted(search: Search) -> None:
    result, err = search("el gato", fold=True)
    (query,) = result["queries"]
    (match,) = query["matches"]  # to an untrained teacher, pictures of noise are near-duplicates
    assert len(match["duplicates"]) == query["folded"] == N - 1
    assert f"{N - 1} near-duplicate files folded; --duplicates shows all" in err
    (unfolded,) = search("el gato", "--top", N)[0]["queries"]
    assert [match["path"], *match["duplicates"]] == [each["path"] for each in unfolded["matches"]]
    assert unfolded["folded"] == 0


def test_folded_files_of_two_texts_are_summed(search: Search) -> None:
    result, err = search("el gato", "canta", fold=True)
    assert [query["folded"] for query in result["queries"]] == [N - 1, N - 1]
    line = f"{2 * (N - 1)} near-duplicate files folded, summed over 2 answers; --duplicates shows all"
    assert line in err


REFUSED: dict[str, tuple[list[str], str]] = {
    "a text file": (["--like", "a.txt"], "Error: --like a.txt: must be an image ("),
    "no file": (["a", "--unlike", "b.jpg"], "Error: --unlike b.jpg: cannot read the image: No such file"),
    "neither text nor picture": (["--minus", "a"], "required: TEXT, or --like PICTURE"),
    "an empty added text": (["a", "--plus", " "], "Error: search: a text must not be empty, got ' '"),
    "no chance": (["a", "--min-chance", "x"], "--min-chance: must be a number from 0 to 1, got 'x'"),
    "a percentage": (["a", "--min-chance", "50"], "--min-chance: must be a number from 0 to 1, got '50'"),
    "nan": (["a", "--min-chance", "nan"], "--min-chance: must be a number from 0 to 1, got 'nan'"),
    "a chance of a sum": (
        ["a", "--min-chance", "0.5", "--minus", "b"],
        "Error: --min-chance cannot be combined with --minus: only texts alone have a chance",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture, case: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("no picture")
    arguments, message = REFUSED[case]
    assert main(["search", *arguments, "--images", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert out == ""
    assert message in line
