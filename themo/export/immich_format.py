"""immich: a CLIP for the photo server's search, the teacher's image tower beside the student as text tower.

Two graphs in the layout that immich's machine learning reads from its model cache: ``visual/`` takes pictures
as its own preprocessing makes them, ``textual/`` takes token ids, int32, padded to ``context_length``. Both
return vectors of length 1.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from themo.data.sources import Sources
from themo.errors import InputError
from themo.export.backbone_files import write_tokenizer
from themo.export.onnx_graph import refuse_graph
from themo.export.quality import Sentences
from themo.export.request import Request
from themo.export.source import Source
from themo.models.runtimes.encoder import LEAST_COSINE, PROBES
from themo.models.runtimes.graphs import open_graph, plain_attention, write_module
from themo.models.student import Student
from themo.models.teacher import model_config

LIBRARY = "onnx"
TASK = "zero-shot-image-classification"
NORMALIZED = True
TEXTUAL, VISUAL = "textual", "visual"
MODEL = "model.onnx"
NAMES = {
    ("ViT-B-16-quickgelu", "openai"): "ViT-B-16__openai",
    ("ViT-B-32-quickgelu", "openai"): "ViT-B-32__openai",
    ("ViT-L-14-quickgelu", "openai"): "ViT-L-14__openai",
    ("ViT-B-32", "laion2b_s34b_b79k"): "ViT-B-32__laion2b-s34b-b79k",
    ("ViT-SO400M-14-SigLIP-384", "webli"): "ViT-SO400M-14-SigLIP-384__webli",
    ("ViT-H-14-quickgelu", "dfn5b"): "ViT-H-14-quickgelu__dfn5b",
}
"""Names in immich's list (`constants.py` of its machine learning) of some of open_clip's models."""
OUTPUT = "vectors"
"""immich takes the first output, whatever its name; "embedding" is a value inside torch's own graph."""


def refuse(source: Source) -> None:
    """Refuse students without an image tower, or too large for a file, and missing packages.

    Raises:
        InputError: The format cannot hold this student, or a package is missing.
    """
    if not source.has_teacher:
        raise InputError(
            f"--format immich cannot export {source.version}: it was trained on data.targets "
            f"{source.settings.data.targets}, which have no image tower"
        )
    refuse_graph("immich", str(source.version), source.trained)


def write(folder: Path, request: Request) -> list[str]:
    """Write the files; return notes on deviations for the card.

    Raises:
        InputError: The teacher's image tower is too large for a file.
        RuntimeError: A graph does not give our vectors.
    """
    source = request.source
    visual = source.teacher.model.visual
    refuse_graph("immich", f"the image tower of {source.settings.teacher.architecture}", visual)
    config = model_config(Sources(source.settings).resolve(source.settings.teacher.architecture))
    length = source.student.head.max_length
    config["text_cfg"] = {"context_length": length, "vocab_size": len(source.tokenizer.inner)}
    _write_json(folder / "config.json", config)
    for name in (TEXTUAL, VISUAL):
        (folder / name).mkdir()
    _write_json(folder / VISUAL / "preprocess_cfg.json", visual.preprocess_cfg)
    _write_textual(folder / TEXTUAL, source)
    _write_visual(folder / VISUAL / MODEL, source)
    return _notes(source, visual.preprocess_cfg)


def _write_textual(folder: Path, source: Source) -> None:
    student, tokenizer = source.student, source.tokenizer
    write_tokenizer(folder, tokenizer, student.head.max_length)
    ids = _padded(source, PROBES)
    graph = _TextTower(student, tokenizer.pad_id)
    with plain_attention(student):
        write_module(folder / MODEL, graph, {"text": ids}, OUTPUT, {"text": _any_batch()})
    _check(folder / MODEL, {"text": ids}, student.encode(tokenizer, PROBES))


def _write_visual(path: Path, source: Source) -> None:
    teacher = source.teacher
    height, width = _image_size(teacher.model.visual.image_size)
    images = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1
    # torch's fused layer has no counterpart in ONNX
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        write_module(path, _ImageTower(teacher.model), {"image": images}, OUTPUT, {"image": _any_batch()})
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
    _check(path, {"image": images}, teacher.encode_pixels(images))


class _TextTower(nn.Module):
    """A student that finds its padding by the id."""

    def __init__(self, student: Student, pad_id: int) -> None:
        super().__init__()
        self.student = student
        self.pad_id = pad_id

    def forward(self, text: Tensor) -> Tensor:
        ids = text.long()
        return functional.normalize(self.student(ids, (ids != self.pad_id).long()), dim=-1)


class _ImageTower(nn.Module):
    """The image side of a CLIP."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.visual = model.visual

    def forward(self, image: Tensor) -> Tensor:
        return functional.normalize(self.visual(image), dim=-1)


def _any_batch() -> dict[int, Any]:
    return {0: torch.export.Dim("batch")}


def _padded(source: Source, texts: Sequence[str]) -> Tensor:
    """Token ids as immich makes them: (B, context_length) int32."""
    sentences = Sentences.of_texts(texts, source)
    shape = len(texts), source.student.head.max_length
    ids = torch.full(shape, sentences.pad_id, dtype=torch.int32)
    for i, row in enumerate(sentences.rows):
        ids[i, : len(row)] = torch.tensor(row, dtype=torch.int32)
    return ids


def _image_size(size: int | Sequence[int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _check(path: Path, inputs: dict[str, Tensor], expected: Tensor) -> None:
    (found,) = open_graph(path).run(None, {name: np.asarray(value) for name, value in inputs.items()})
    cosine = functional.cosine_similarity(torch.from_numpy(found), expected).min().item()
    if not cosine >= LEAST_COSINE:
        raise RuntimeError(f"{path.parent.name}/{MODEL}: its vectors differ, least cosine {cosine:.6f}")


def _notes(source: Source, preprocessing: dict[str, Any]) -> list[str]:
    teacher, dimension = source.settings.teacher, source.student.head.dimension
    listed = NAMES.get((teacher.architecture, teacher.pretrained or ""))
    name = f"`{listed}`" if listed else f"a model of immich's list with {dimension} dimensions"
    notes = [
        f"immich knows models by their names alone: copy this folder to `clip/NAME` in its model cache, NAME "
        f"being {name}, and choose NAME in its settings. Pictures that immich encoded with the same image "
        "tower keep their vectors; others must be encoded again.",
        "immich joins white space before it reads a text.",
    ]
    if preprocessing.get("interpolation") != "bicubic" or preprocessing.get("resize_mode") != "shortest":
        notes.append(
            f"This image tower was trained on pictures resized by {preprocessing.get('resize_mode')}, "
            f"{preprocessing.get('interpolation')}, as `visual/preprocess_cfg.json` says. Versions of immich "
            "that ignore these two values resize the shorter side by bicubic interpolation."
        )
    return notes


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")


def usage(_request: Request) -> str:
    """Return the card's lines of code, which read a text as immich does."""
    return """\
```python
import json
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

<place>
length = json.loads(Path(place, "config.json").read_text())["text_cfg"]["context_length"]
pad_token = json.loads(Path(place, "textual/tokenizer_config.json").read_text())["pad_token"]
tokenizer = Tokenizer.from_file(f"{place}/textual/tokenizer.json")
tokenizer.enable_padding(length=length, pad_token=pad_token, pad_id=tokenizer.token_to_id(pad_token))
tokenizer.enable_truncation(max_length=length)
session = onnxruntime.InferenceSession(f"{place}/textual/model.onnx")
<sentences>
ids = [tokenizer.encode(" ".join(sentence.split())).ids for sentence in sentences]
(vectors,) = session.run(None, {"text": np.array(ids, dtype=np.int32)})
```
"""
