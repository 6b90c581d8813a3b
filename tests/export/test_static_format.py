import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from tiny import sentence_pairs, write_lines

import themo
from themo.checkpoints.versions import read_settings
from themo.errors import InputError
from themo.evaluation.scores import Scores
from themo.export.exporting import export_version
from themo.export.refusals import refuse_options
from themo.export.source import Source
from themo.export.static_distillation import distil
from themo.export.static_format import n_tokens
from themo.files.atomic import write_text
from themo.models.static_table import StaticTable

SENTENCES = [es for _, es in sentence_pairs()]


@pytest.mark.parametrize("target", ["embedding", "state"])
def test_a_table_is_read_as_a_model(source: Callable[..., Source], tmp_path: Path, target: str) -> None:
    opened = source(target=target)
    export = export_version(opened, "static", tmp_path / "table")
    model = themo.load(export.folder)
    assert model.dimension == opened.student.head.dimension == 12
    vectors = model.encode(["el gato rojo corre", "canta el búho muy viejo"])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    assert model.count_tokens(["el gato", ""])[1] == 0
    assert model.teacher.dimension("embedding") == 12
    with pytest.raises(InputError, match=r"needs a student trained with loss.nested_widths"):
        model.encode("el gato", dimensions=4)


def test_distillation_brings_a_table_near_its_student(source: Callable[..., Source]) -> None:
    opened = source()
    student = torch.nn.functional.normalize(opened.student.encode(opened.tokenizer, SENTENCES), dim=1)
    table = StaticTable(*distil(opened.student, opened.tokenizer, SENTENCES, 150))
    cosines = (table.encode(SENTENCES) * student).sum(1)
    chance = (student @ student.T).mean()
    assert cosines.mean() > max(0.9, chance)
    again = StaticTable(*distil(opened.student, opened.tokenizer, SENTENCES, 150))
    torch.testing.assert_close(again.encode(SENTENCES), table.encode(SENTENCES), atol=1e-4, rtol=0)


def test_the_progress_of_the_fit_names_the_passes(
    source: Callable[..., Source], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("themo.process.progress.SECONDS_BETWEEN_LINES", 0)
    opened = source()
    distil(opened.student, opened.tokenizer, SENTENCES, 150)
    n = 8 * len(SENTENCES)
    assert f"Fitting the table in 8 passes: {n:,} of {n:,} sentences" in capsys.readouterr().err


def test_a_table_is_a_small_share_of_its_student(source: Callable[..., Source]) -> None:
    student = source().student
    assert n_tokens(student) == 200  # the least: this student is tiny
    wide = torch.nn.Linear(1_000, 1_000)
    student.add_module("wide", wide)
    n_bytes = 4 * sum(p.numel() for p in student.parameters())
    assert n_tokens(student) * (12 + 40) == pytest.approx(0.075 * n_bytes, rel=0.01)


def test_own_sentences_are_learnt_from(source: Callable[..., Source], tmp_path: Path) -> None:
    file = write_lines(tmp_path / "mine.txt", ["un zorro gris", "el zorro gris duerme"])
    export = export_version(source(), "static", tmp_path / "table", sentences=file)
    assert "2 sentences of mine.txt" in export.notes[0]
    model = themo.load(export.folder)
    assert model.count_tokens(["zorro gris"]) == [1]
    assert not model.encode("gato").any()


def test_the_card_reports_the_students_scores_as_such(version: Callable[..., Path], tmp_path: Path) -> None:
    folder = version()
    ranks = {"student": torch.tensor([0, 0, 3, 7]), "ceiling": torch.tensor([0, 0, 0, 2])}
    (folder / "test.json").write_text(json.dumps(Scores({"retrieval": ranks}).to_dict()), encoding="utf-8")
    table = export_version(Source.open(folder), "static", tmp_path / "table").folder
    card = ModelCard((table / "README.md").read_text(encoding="utf-8"))
    assert card.data.eval_results is None
    assert "# themo-tiny\n\nA static table of Spanish words and phrases, distilled with Themo" in card.text
    assert "Vectors have length 1: compare them by dot product. Texts are not cut" in card.text
    assert "tokens, special ones included" not in card.text
    assert "| the encoder that this table was distilled from, Spanish | 0.500 (0.150" in card.text
    assert "this model" not in card.text
    assert "## Evaluation of the encoder\n" in card.text
    assert "The table itself was not tested. " in card.text
    assert "## Training of the encoder\n" in card.text


def test_the_settings_hold_the_versions_cache(version: Callable[..., Path], tmp_path: Path) -> None:
    folder = version()
    own = read_settings(folder)
    write_text(folder / "config.yaml", own.override({"cache_dir": "data/cache"}).to_yaml())
    opened = Source.open(folder, {"cache_dir": own.paths.cache_dir})
    table = export_version(opened, "static", tmp_path / "table").folder
    assert read_settings(table).paths.cache_dir == "data/cache"


def test_sentences_without_letters_or_digits_are_refused(
    source: Callable[..., Source], tmp_path: Path
) -> None:
    file = write_lines(tmp_path / "mine.txt", ["...", "¿?", "— !"])
    with pytest.raises(InputError) as caught:
        export_version(source(), "static", tmp_path / "table", sentences=file)
    assert str(caught.value) == (
        f"--sentences {file} must have a sentence with letters or digits, got none of 3"
    )
    assert not (tmp_path / "table").exists()


def test_sentences_belong_to_int8_or_a_static_table(tmp_path: Path) -> None:
    refuse_options("static", False, tmp_path, None)
    with pytest.raises(InputError, match=r"--sentences needs --int8, .*, or --format static"):
        refuse_options("onnx", False, tmp_path, None)
    with pytest.raises(InputError, match="--int8 is for --format onnx, got --format static"):
        refuse_options("static", True, None, None)
