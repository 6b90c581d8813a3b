"""The immich format, read as immich's machine learning reads it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from consumers import assert_same, files, mixed_sentences, run_card, write_beto
from PIL import Image
from tokenizers import Tokenizer

from themo.errors import InputError
from themo.export import onnx_graph
from themo.export.exporting import export_version
from themo.export.source import Source


class Immich:
    """Immich's loader of an OpenCLIP model's folder: one text or picture at a time."""

    def __init__(self, folder: Path) -> None:
        context = json.loads((folder / "config.json").read_text(encoding="utf-8"))["text_cfg"][
            "context_length"
        ]
        config = json.loads((folder / "textual" / "tokenizer_config.json").read_text(encoding="utf-8"))
        self.tokenizer = Tokenizer.from_file(str(folder / "textual" / "tokenizer.json"))
        pad_id = self.tokenizer.token_to_id(config["pad_token"])
        self.tokenizer.enable_padding(length=context, pad_token=config["pad_token"], pad_id=pad_id)
        self.tokenizer.enable_truncation(max_length=context)
        self.textual, self.visual = (
            onnxruntime.InferenceSession(folder / name / "model.onnx", providers=["CPUExecutionProvider"])
            for name in ("textual", "visual")
        )
        self.preprocessing: dict[str, Any] = json.loads(
            (folder / "visual" / "preprocess_cfg.json").read_text(encoding="utf-8")
        )

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        rows = []
        for text in texts:
            ids = self.tokenizer.encode(" ".join(text.split())).ids
            rows.append(self.textual.run(None, {"text": np.array([ids], dtype=np.int32)})[0][0])
        return np.stack(rows)

    def encode_image(self, picture: Image.Image) -> np.ndarray:
        size = self.preprocessing["size"]
        side = size[0] if isinstance(size, list) else size
        ratio = picture.width / picture.height
        whole = (side, int(side / ratio)) if ratio < 1 else (int(side * ratio), side)
        resized = picture.resize(whole, resample=Image.Resampling.BICUBIC)
        left, upper = int(resized.width / 2 - side / 2), int(resized.height / 2 - side / 2)
        pixels = np.asarray(resized.crop((left, upper, left + side, upper + side)), dtype=np.float32) / 255
        mean, std = (np.array(self.preprocessing[key], dtype=np.float32) for key in ("mean", "std"))
        inputs = {"image": ((pixels - mean) / std).transpose(2, 0, 1)[None]}
        vector: np.ndarray = self.visual.run(None, inputs)[0][0]
        return vector


@pytest.mark.slow
@pytest.mark.parametrize(
    "head",
    [
        {"pooling": "mean"},
        {"pooling": "first", "projection_bias": True, "last_layer_norm": True, "target": "state"},
    ],
    ids=str,
)
def test_immich_gets_our_vectors(source: Callable[..., Source], tmp_path: Path, head: dict[str, Any]) -> None:
    opened = source(**head)
    export = export_version(opened, "immich", tmp_path / "export")
    immich, sentences = Immich(export.folder), mixed_sentences()
    found = immich.encode(sentences)
    assert_same(found, opened, sentences)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8))
    picture.save(tmp_path / "picture.png")
    (expected,) = opened.teacher.encode_images([tmp_path / "picture.png"])
    cosine = torch.from_numpy(immich.encode_image(picture)) @ expected
    assert cosine > 0.999  # resized by other rounding
    assert files(export.folder) == [
        "README.md",
        "config.json",
        "textual/model.onnx",
        "textual/tokenizer.json",
        "textual/tokenizer_config.json",
        "visual/model.onnx",
        "visual/preprocess_cfg.json",
    ]


@pytest.mark.slow
def test_betos_padding_is_found_by_its_id(source: Callable[..., Source], tmp_path: Path) -> None:
    opened = source(backbone=str(write_beto(tmp_path / "beto")))
    folder = export_version(opened, "immich", tmp_path / "export").folder
    sentences = mixed_sentences(100)
    assert_same(Immich(folder).encode(sentences), opened, sentences)


def test_students_that_immich_cannot_hold_are_refused(
    version: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Source.open(version())
    own = replace(opened, settings=opened.settings.override({"targets": "own.npy"}))
    with pytest.raises(
        InputError, match=r"--format immich cannot export .*own\.npy, which have no image tower"
    ):
        export_version(own, "immich", tmp_path / "export")
    monkeypatch.setattr(onnx_graph, "MOST_BYTES", 10_000)
    with pytest.raises(InputError, match=r"--format immich cannot export .*: a graph has at most 0\.0 GB"):
        export_version(opened, "immich", tmp_path / "export")
    monkeypatch.setattr(onnx_graph, "PACKAGES", ("onnx", "nosuchpackage"))
    monkeypatch.setattr(onnx_graph, "MOST_BYTES", 10**9)
    with pytest.raises(
        InputError, match=r"--format immich needs the extra `export` \(missing: nosuchpackage\): "
    ):
        export_version(opened, "immich", tmp_path / "export")
    assert not (tmp_path / "export").exists()


@pytest.mark.slow
def test_the_cards_lines_read_as_immich_does(source: Callable[..., Source], tmp_path: Path) -> None:
    opened = source(max_length=9)
    folder = export_version(opened, "immich", tmp_path / "export").folder
    sentences = mixed_sentences(50)
    assert_same(run_card(folder, sentences), opened, sentences)
