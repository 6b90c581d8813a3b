import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from consumers import assert_same, mixed_sentences, run_card, write_beto
from foreign_models import POSITIONS, write_mclip
from tiny import sentence_pairs, write_captioned_images

from themo.errors import InputError
from themo.evaluation.encoders import examine
from themo.export.exporting import export_version
from themo.export.source import Source

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

HEADS = [
    {"pooling": "mean"},
    {"pooling": "first", "projection_bias": True},
    {"pooling": "mean", "last_layer_norm": True, "projection_bias": True},
    {"pooling": "first", "last_layer_norm": True, "target": "state"},
    {"target": "state", "projection_bias": True, "max_length": 7},
]


@pytest.mark.parametrize("head", HEADS, ids=str)
def test_the_library_gives_our_vectors(
    source: Callable[..., Source], tmp_path: Path, head: dict[str, Any]
) -> None:
    from sentence_transformers import SentenceTransformer

    opened = source(**head)
    export = export_version(opened, "sentence-transformers", tmp_path / "export")
    moved = shutil.move(export.folder, tmp_path / "moved")
    model = SentenceTransformer(str(moved))
    assert model.max_seq_length == opened.trained.head.max_length
    sentences = mixed_sentences()
    assert_same(model.encode(sentences), opened, sentences)


def test_the_library_finds_the_images_that_we_find(source: Callable[..., Source], tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer, util

    write_captioned_images(tmp_path, 24)
    opened = source(captions=str(tmp_path / "xtd10"), images=str(tmp_path / "mscoco"))
    ranks = examine(opened.settings, opened.version, task="retrieval").scores.ranks["retrieval"]["student"]
    export_version(opened, "sentence-transformers", tmp_path / "export")
    model = SentenceTransformer(str(tmp_path / "export"))
    captions = [sentence_pairs()[7 * i][1] for i in range(24)]
    names = (tmp_path / "xtd10" / "test_image_names.txt").read_text(encoding="utf-8").split()
    images = opened.teacher.encode_images([tmp_path / "mscoco" / n.split("_")[1] / n for n in names])
    found = util.semantic_search(
        model.encode(captions, convert_to_tensor=True), images, top_k=24, score_function=util.cos_sim
    )
    places = [[hit["corpus_id"] for hit in hits].index(i) for i, hits in enumerate(found)]
    assert places == ranks.tolist()
    assert len(set(places)) > 3  # not all alike


def test_own_vectors(source: Callable[..., Source], tmp_path: Path, tiny_corpus: Path) -> None:
    from sentence_transformers import SentenceTransformer

    n_rows = len(tiny_corpus.read_text(encoding="utf-8").splitlines()) - 1
    np.save(tmp_path / "own.npy", np.random.default_rng(0).normal(size=(n_rows, 7)).astype(np.float32))
    opened = source(targets=str(tmp_path / "own.npy"))
    export = export_version(opened, "sentence-transformers", tmp_path / "export")
    assert export.dimension == 7
    texts = ["duerme", "el gato"]
    assert_same(SentenceTransformer(str(export.folder)).encode(texts), opened, texts)
    assert "no known image tower" in (export.folder / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("accents", [True, False])
def test_betos_special_ids_and_accents(source: Callable[..., Source], tmp_path: Path, accents: bool) -> None:
    """A folder as BETO came: no tokenizer.json, unusual ids, a vocabulary with or without accents."""
    from sentence_transformers import SentenceTransformer

    backbone = write_beto(tmp_path / "beto", accents=accents)
    opened = source(backbone=str(backbone))
    assert opened.tokenizer.pad_id == 1
    export_version(opened, "sentence-transformers", tmp_path / "export")
    model = SentenceTransformer(str(tmp_path / "export"))
    sentences = mixed_sentences(300)
    assert_same(model.encode(sentences), opened, sentences)
    together, apart = model.encode(["el niño", "el nino"])
    assert np.allclose(together, apart, atol=1e-5) != accents


def test_as_many_tokens_as_an_xlm_roberta_has_positions_for(
    source: Callable[..., Source], tmp_path: Path
) -> None:
    from sentence_transformers import SentenceTransformer

    base = tmp_path / "xlm" / "base"
    for path in write_mclip(base.parent).glob("*token*"):
        shutil.copy(path, base)
    with pytest.raises(InputError, match=f"must be at most the backbone's {POSITIONS}, got {POSITIONS + 1}"):
        source(backbone=str(base), max_length=POSITIONS + 1)
    opened = source(backbone=str(base), max_length=POSITIONS)
    export_version(opened, "sentence-transformers", tmp_path / "export")
    model = SentenceTransformer(str(tmp_path / "export"))
    assert model.max_seq_length == model.tokenizer.model_max_length == POSITIONS
    sentences = mixed_sentences(300)
    assert_same(model.encode(sentences), opened, sentences)


@pytest.mark.slow
def test_the_cards_lines(source: Callable[..., Source], tmp_path: Path) -> None:
    opened = source(last_layer_norm=True, projection_bias=True)
    export = export_version(opened, "sentence-transformers", tmp_path / "export")
    moved = shutil.move(export.folder, tmp_path / "moved")
    sentences = mixed_sentences()
    assert_same(torch.from_numpy(run_card(moved, sentences)), opened, sentences)
