import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from consumers import assert_same, files, mixed_sentences, run_card
from tokenizers import Tokenizer

from themo.errors import InputError
from themo.export import openvino_format
from themo.export.exporting import export_version
from themo.export.openvino_format import MODEL
from themo.export.source import Source
from themo.models.runtimes.sessions import OpenVinoSession

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]

HEADS = [
    {"pooling": "mean"},
    {"pooling": "first", "last_layer_norm": True, "target": "state", "projection_bias": True},
]


@pytest.mark.parametrize("head", HEADS, ids=str)
def test_graph_and_modules_give_our_vectors(
    source: Callable[..., Source], tmp_path: Path, head: dict[str, Any]
) -> None:
    """By OpenVINO and the library's own modules; its reader of graphs wants older packages."""
    from sentence_transformers.models import Dense, LayerNorm, Pooling

    opened = source(**head)
    folder = Path(
        shutil.move(export_version(opened, "openvino", tmp_path / "export").folder, tmp_path / "moved")
    )
    assert "model.safetensors" not in files(folder)
    kinds = {"Pooling": Pooling, "LayerNorm": LayerNorm, "Dense": Dense}
    listed = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    modules = [kinds[m["type"].rpartition(".")[2]].load(str(folder / m["path"])) for m in listed[1:]]
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    session = OpenVinoSession(folder / MODEL)
    sentences, parts = mixed_sentences(), []
    for start in range(0, len(sentences), 50):
        encodings = tokenizer.encode_batch(sentences[start : start + 50])
        ids, mask = (torch.tensor([getattr(e, n) for e in encodings]) for n in ("ids", "attention_mask"))
        features = {"token_embeddings": session(ids, mask), "attention_mask": mask}
        for module in modules:
            features = module(features)
        parts.append(features["sentence_embedding"].detach().numpy())
    assert_same(np.concatenate(parts), opened, sentences)


def test_the_cards_lines(source: Callable[..., Source], tmp_path: Path) -> None:
    pytest.importorskip("optimum.intel", reason="needs optimum-intel, which wants an older transformers")
    opened = source(last_layer_norm=True)
    folder = export_version(opened, "openvino", tmp_path / "export").folder
    sentences = mixed_sentences()
    assert_same(run_card(folder, sentences), opened, sentences)


def test_openvino_without_its_package(
    source: Callable[..., Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(openvino_format.PACKAGES, "openvino", ("onnx", "nosuchpackage"))
    with pytest.raises(
        InputError, match=r"--format openvino needs the extra `export` \(missing: nosuchpackage\): "
    ):
        export_version(source(), "openvino", tmp_path / "export")
