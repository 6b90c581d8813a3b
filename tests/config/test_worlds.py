from pathlib import Path

import pytest

from themo.cli.main import main
from themo.config.settings import load
from themo.config.worlds import note_on_tests, refuse_toy_teacher, toy_parts
from themo.errors import InputError

OWN = {"corpus": ["2*own.tsv"]}


@pytest.mark.parametrize("command", ["train", "tune", "prepare"])
@pytest.mark.parametrize("options", [[], ["--targets", "null"], ["--backbone", "dccuchile/beto"]])
def test_an_own_corpus_without_a_teacher_is_refused(
    command: str,
    options: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.tsv").write_text("en\tes\na\tb\n", encoding="utf-8")
    assert main([command, "--corpus", "own.tsv", *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("Error: --corpus own.tsv needs a teacher that knows its sentences: ")
    for way in ("--preset", "vit-l-14-beto", "--targets FILE.npy", "--preset miniature"):
        assert way in line
    assert not Path("logs").exists()


@pytest.mark.parametrize(
    ("leaves", "warned_of"),
    [
        (OWN, ["teacher", "student"]),
        (OWN | {"targets": "own.npy"}, ["student"]),
        (OWN | {"architecture": "ViT-B-32", "pretrained": "openai"}, ["student"]),
        (OWN | {"backbone": "dccuchile/beto"}, ["teacher"]),
        (OWN | {"targets": "own.npy", "backbone": "dccuchile/beto"}, []),
        ({}, []),
        ({"corpus": ["miniature:corpus/validation.tsv"]}, []),
    ],
)
def test_the_toy_parts_of_a_run_are_warned_of(leaves: dict[str, object], warned_of: list[str]) -> None:
    settings = load(overrides=leaves)
    lines = toy_parts(settings)
    assert len(lines) == len(warned_of)
    for part, line in zip(warned_of, lines, strict=True):
        assert line.startswith("Warning: own.tsv is ")
        assert f"the miniature's toy {part}" in line
    if "teacher" in warned_of:
        with pytest.raises(InputError, match="needs a teacher"):
            refuse_toy_teacher(settings)
    else:
        refuse_toy_teacher(settings)


@pytest.mark.parametrize(
    ("leaves", "is_noted"),
    [
        (OWN, True),
        (OWN | {"corpus": ["own.tsv", "miniature:corpus/train.tsv"]}, False),
        (OWN | {"images": "own", "captions": "own"}, False),
        (OWN | {"xm3600_images": "own", "xm3600_captions": "own"}, False),
        (OWN | {"xflickrco_images": "own", "xflickrco_captions": "own"}, False),
        (OWN | {"images": None, "captions": None}, True),
        (OWN | {"images": None, "captions": None, "imagenet": None, "prompts": None}, False),
        ({}, False),
    ],
)
def test_tests_unrelated_to_the_corpus_are_noted(leaves: dict[str, object], is_noted: bool) -> None:
    assert (note_on_tests(load(overrides=leaves)) is not None) == is_noted


def test_a_chosen_miniature_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["prepare", "--preset", "miniature", "--corpus", "nosuch.tsv", "--dry-run"]) == 0
    said = capsys.readouterr().err
    assert "Warning: nosuch.tsv is taught by the miniature's toy teacher" in said
