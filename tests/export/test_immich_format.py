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

from themo.config.settings import load
from themo.errors import InputError
from themo.export import onnx_graph
from themo.export.exporting import export_version
from themo.export.immich_format import _notes
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
    card = (export.folder / "README.md").read_text(encoding="utf-8")
    assert "Vectors have length 1: compare them by dot product. Sentences are cut to " in card
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


def test_a_presets_teacher_has_immichs_name(source: Callable[..., Source]) -> None:
    opened = source()
    for preset, expected in {
        "vit-b-16-beto": "`ViT-B-16__openai`",
        "vit-b-32-beto": "`ViT-B-32__openai`",
        "vit-l-14-beto": "`ViT-L-14__openai`",
        "siglip-beto": "`ViT-SO400M-14-SigLIP-384__webli`",
        "dfn5b-h-14-beto": "`ViT-H-14-quickgelu__dfn5b`",
        "miniature": "a model of immich's list with 12 dimensions",
    }.items():
        of_preset = replace(opened, settings=load(preset=preset).override({"target": "embedding"}))
        first, *_ = _notes(of_preset, {"interpolation": "bicubic", "resize_mode": "shortest"})
        assert f"NAME being {expected}, and choose NAME in its settings" in first


def test_another_resizing_than_immichs_is_named(source: Callable[..., Source]) -> None:
    opened = source()
    assert len(_notes(opened, {"interpolation": "bicubic", "resize_mode": "shortest"})) == 2
    *_, resizing = _notes(opened, {"interpolation": "bilinear", "resize_mode": "squash"})
    assert resizing == (
        "This image tower was trained on pictures resized by squash, bilinear, as "
        "`visual/preprocess_cfg.json` says. Versions of immich that ignore these two values resize the "
        "shorter side by bicubic interpolation."
    )


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
