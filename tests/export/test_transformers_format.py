import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from consumers import assert_same, blocks, files, mixed_sentences, run_card
from safetensors.torch import load_file
from tokenizers import AddedToken
from transformers import AutoModel, AutoTokenizer

from themo.errors import InputError
from themo.export.card_examples import example_sentences
from themo.export.exporting import export_version
from themo.export.refusals import refuse_options
from themo.export.source import Source
from themo.models.student import load_student

HEADS = [
    {"pooling": "mean"},
    {"pooling": "first", "last_layer_norm": True},
    {"target": "state", "last_layer_norm": True, "projection_bias": True},
    {"pooling": "first", "projection_bias": True, "max_length": 5},
]


@pytest.mark.parametrize("head", HEADS, ids=str)
def test_the_cards_lines_give_our_vectors(
    source: Callable[..., Source], tmp_path: Path, head: dict[str, Any]
) -> None:
    opened = source(**head)
    export = export_version(opened, "transformers", tmp_path / "export")
    moved = Path(shutil.move(export.folder, tmp_path / "moved"))
    (code,) = blocks(moved / "README.md", "python")
    sentences = mixed_sentences()
    lines = [line for line in code.splitlines() if not line.startswith(("place =", "sentences ="))]
    variables: dict[str, Any] = {"place": str(moved), "sentences": sentences}
    exec("\n".join(lines), variables)  # noqa: S102 -- what the card tells to run
    assert_same(variables["vectors"], opened, sentences)


def test_the_card_names_a_token_hidden_in_decomposed_text(
    source: Callable[..., Source], tmp_path: Path
) -> None:
    opened = source()
    export = export_version(opened, "transformers", tmp_path / "plain")
    assert not [note for note in export.notes if "NFC" in note]
    opened.tokenizer.inner.add_tokens([AddedToken("ñandú", normalized=False)])
    folder = export_version(opened, "transformers", tmp_path / "added").folder
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "after it looks for its added tokens, such as 'ñandú': give it texts in NFC" in card
    read = AutoTokenizer.from_pretrained(folder)
    decomposed = unicodedata.normalize("NFD", "ñandú")
    assert read(decomposed)["input_ids"] != read("ñandú")["input_ids"]


def test_an_ordinary_folder(source: Callable[..., Source], tmp_path: Path) -> None:
    opened = source()
    folder = export_version(opened, "transformers", tmp_path / "export").folder
    assert files(folder) == [
        "README.md",
        "config.json",
        "head.json",
        "head.safetensors",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    model, loading = AutoModel.from_pretrained(folder, add_pooling_layer=False, output_loading_info=True)
    assert not loading["missing_keys"]
    assert not loading["unexpected_keys"]
    assert model.config.architectures == ["BertModel"]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.model_max_length == 16
    text = "El NIÑO pequeño corre"
    flat, _ = opened.tokenizer.encode([text])
    assert tokenizer(text)["input_ids"] == flat.tolist()
    for path in folder.glob("*.json"):
        assert str(tmp_path) not in path.read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_cards_lines_without_themo(source: Callable[..., Source], tmp_path: Path) -> None:
    opened = source(target="state", projection_bias=True)
    folder = export_version(opened, "transformers", tmp_path / "export").folder
    sentences = mixed_sentences()
    assert_same(run_card(folder, sentences), opened, sentences)
    assert_same(run_card(folder), opened, example_sentences(opened))


def test_the_card_needs_no_scrolling(source: Callable[..., Source], tmp_path: Path) -> None:
    opened = source(last_layer_norm=True, projection_bias=True)
    folder = export_version(opened, "transformers", tmp_path / "export").folder
    (code,) = blocks(folder / "README.md", "python")
    lines = code.splitlines()
    assert len(lines) <= 18
    assert max(map(len, lines)) <= 90


def test_a_backbone_in_bfloat16(source: Callable[..., Source], tmp_path: Path) -> None:
    opened = source(target="state")
    whole = export_version(opened, "transformers", tmp_path / "whole").folder
    export = export_version(opened, "transformers", tmp_path / "half", bf16=True)
    before, after = ((f / "model.safetensors").stat().st_size for f in (whole, export.folder))
    assert after < 0.7 * before
    assert any("weights are in bfloat16" in note for note in export.notes)
    assert {t.dtype for t in load_file(export.folder / "model.safetensors").values()} == {torch.bfloat16}
    model = AutoModel.from_pretrained(export.folder, add_pooling_layer=False)
    assert model.dtype == torch.float32
    student, tokenizer = load_student(export.folder)
    sentences = mixed_sentences(100)
    assert_same(student.encode(tokenizer, sentences), opened, sentences)


def test_bfloat16_is_refused_for_other_formats() -> None:
    with pytest.raises(
        InputError, match="--bf16 is for --format transformers and sentence-transformers, got --format onnx"
    ):
        refuse_options("onnx", False, None, None, True)
