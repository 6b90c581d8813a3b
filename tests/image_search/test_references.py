"""The choice of reference texts, and the texts that a student knows."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from tiny import SettingsFactory, write_lines, write_version_of

import themo
from themo.export.exporting import export_version
from themo.export.source import Source
from themo.files.atomic import replace_folder, write_text
from themo.image_search import references
from themo.image_search.references import load_references, reference_texts
from themo.image_search.subjects import SUBJECTS, subject_texts


def test_general_subjects_are_distinct_and_have_two_texts() -> None:
    assert len(set(SUBJECTS)) == len(SUBJECTS) > 200
    assert subject_texts()[0] == ("un perro", "una foto de un perro")


@pytest.mark.parametrize(
    "lines",
    [None, ["synset\ten", "n1\ta cat"]],
    ids=["no file", "another language"],
)
def test_without_own_prompts_the_subjects_are_general(
    tmp_path: Path, settings: SettingsFactory, lines: list[str] | None
) -> None:
    path = tmp_path / "prompts.tsv"
    if lines is not None:
        write_lines(path, lines)
    assert reference_texts(settings(prompts=str(path))) == subject_texts()
    assert reference_texts(settings()) == subject_texts()


def test_own_prompts_are_grouped_by_class(tmp_path: Path, settings: SettingsFactory) -> None:
    lines = ["synset\ten\tes", "n1\ta cat\tun gato", "n2\ta dog\tun perro", "n1\tcat\tgato"]
    path = write_lines(tmp_path / "prompts.tsv", lines)
    assert reference_texts(settings(prompts=str(path))) == [("un gato", "gato"), ("un perro",)]


def test_texts_with_unknown_words_are_left_out(
    tmp_path: Path, settings: SettingsFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = themo.load(write_version_of(settings(), tmp_path / "version_0", dimension=12))
    assert model.reads(["el gato", "el \u4e2d gato"]) == [True, False]
    texts = [("el gato", "\u4e2d"), ("\u4e2d",), ("el perro",)]
    monkeypatch.setattr(references, "reference_texts", lambda _: texts)
    found = load_references(model)
    expected = model.encode(["el gato", "el perro"], normalize=True)
    assert found.vectors_RE == pytest.approx(expected, abs=1e-6)
    assert found.logit_scale == pytest.approx(model.teacher.logit_scale)


def test_references_of_a_replaced_student_are_not_cached(tmp_path: Path, settings: SettingsFactory) -> None:
    """A training replaces the student after it was loaded and before its references are encoded."""
    version = write_version_of(settings(), tmp_path / "version_0", dimension=12)
    other = load_file(version / "student" / "head.safetensors")

    def write(folder: Path) -> None:
        shutil.copytree(version / "student", folder, dirs_exist_ok=True)
        save_file({name: -tensor for name, tensor in other.items()}, folder / "head.safetensors")

    model = themo.load(version)
    replace_folder(version / "student", write)
    before = load_references(model).vectors_RE
    after = load_references(themo.load(version)).vectors_RE
    assert after == pytest.approx(-before, abs=1e-3)


def test_a_static_table_has_references_of_its_own(tmp_path: Path, settings: SettingsFactory) -> None:
    version = write_version_of(settings(), tmp_path / "version_0", dimension=12)
    write_text(version / "summary.json", '{"state": "finished"}')
    found = []
    for name, sentences in (("first", ["un perro", "un gato"]), ("second", ["una casa", "una flor"])):
        file = write_lines(tmp_path / "mine.txt", sentences)
        export_version(Source.open(version), "static", tmp_path / name, sentences=file)
        table = themo.load(tmp_path / name)
        found.append(load_references(table).vectors_RE)
        known = [texts for texts in subject_texts() if any(table.reads(texts))]
        assert len(found[-1]) == len(known) > 0
    assert found[0].shape != found[1].shape or not np.allclose(*found)


def test_references_are_encoded_once(
    tmp_path: Path, settings: SettingsFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = write_version_of(settings(), tmp_path / "version_0", dimension=12)
    first = load_references(themo.load(version))
    monkeypatch.setattr(references, "_encode", None)
    again = load_references(themo.load(version))
    assert (again.vectors_RE == first.vectors_RE).all()
    assert again.logit_scale == first.logit_scale
