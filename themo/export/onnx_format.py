"""ONNX: the whole encoder as one graph of any batch and length, with its tokenizer; int8 on request.

The graph is checked with onnxruntime against the student when it is written. The packages come with the extra
``export``.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from themo.export.backbone_files import write_tokenizer
from themo.export.onnx_graph import refuse_graph
from themo.export.quality import Quality, Sentences, compare
from themo.export.request import Request
from themo.export.source import Source
from themo.models.by_length import batches_by_length
from themo.models.runtimes.encoder import LEAST_COSINE, PROBES
from themo.models.runtimes.graphs import INPUTS, OUTPUT, open_graph, write_graph

LIBRARY = "onnx"
TASK = "feature-extraction"
NORMALIZED = False
MODEL, INT8_MODEL, QUALITY = "model.onnx", "model_int8.onnx", "int8.json"
_BATCH = 64
_ALONE = 256
"""Number of sentences also encoded alone, to measure the effect of the batch on 8-bit vectors."""


def refuse(source: Source, format_name: str = "onnx") -> None:
    """Refuse a student that is too large for a file, and missing packages.

    Args:
        source: The version.
        format_name: The format, for messages.

    Raises:
        InputError: A package is missing, or the student is too large.
    """
    refuse_graph(format_name, str(source.version), source.trained)


def write(folder: Path, request: Request) -> list[str]:
    """Write the files; return notes on deviations for the card.

    Raises:
        RuntimeError: The graph does not give the student's vectors.
    """
    source = request.source
    write_graph(folder / MODEL, source.student)
    write_tokenizer(folder, source.tokenizer, source.student.head.max_length)
    probes = Sentences.of_texts(PROBES, source)
    cosine = functional.cosine_similarity(
        encode(folder / MODEL, probes), source.student.encode(source.tokenizer, PROBES)
    )
    if not bool((cosine >= LEAST_COSINE).all()):
        raise RuntimeError(f"{MODEL}: vectors differ from the student's, least cosine {cosine.min():.6f}")
    return []


def write_int8(folder: Path, sentences: Sentences) -> tuple[Quality, list[str]]:
    """Write an 8-bit copy of the graph and measure its loss.

    Args:
        folder: Folder of an export.
        sentences: Sentences for measuring the loss.

    Returns:
        The loss, also written as ``int8.json``, and its notes for the card.
    """
    write_eight_bits(folder / MODEL, folder / INT8_MODEL)
    quality = compare(
        encode(folder / MODEL, sentences),
        encode(folder / INT8_MODEL, sentences, in_order=True),  # as the card's lines do
        encode(folder / INT8_MODEL, replace(sentences, rows=sentences.rows[:_ALONE]), batch=1),
        sentences,
    )
    sizes = [(folder / name).stat().st_size / 1e6 for name in (MODEL, INT8_MODEL)]
    content = {"sentences": sentences.name, **quality.to_dict()}
    (folder / QUALITY).write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")
    return quality, [
        f"`{INT8_MODEL}` ({sizes[1]:,.1f} MB; `{MODEL}` has {sizes[0]:,.1f}) has 8-bit matrices. "
        f"{quality.in_words(sentences.name)}"
    ]


def write_eight_bits(graph: Path, path: Path) -> None:
    """Write a copy of a graph whose matrices have 8 bits."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    level = logging.getLogger().level
    try:
        logging.getLogger().setLevel(logging.ERROR)  # silence advice that does not apply here
        quantize_dynamic(graph, path, weight_type=QuantType.QInt8, per_channel=True)
    finally:
        logging.getLogger().setLevel(level)


def encode(model: Path, sentences: Sentences, batch: int = _BATCH, *, in_order: bool = False) -> Tensor:
    """Encode sentences by onnxruntime: (N, E) float32, in order.

    Args:
        model: The graph.
        sentences: N sentences.
        batch: Sentences per batch.
        in_order: Whether batches follow the order of the sentences; else they are of like length, which takes
            less time.
    """
    session = open_graph(model)
    rows = sentences.rows
    parts: dict[int, Any] = {}
    for chosen in batches_by_length([0 if in_order else len(row) for row in rows], batch):
        ids, mask = _padded([rows[i] for i in chosen], sentences.pad_id)
        (vectors,) = session.run([OUTPUT], dict(zip(INPUTS, (ids, mask), strict=True)))
        parts |= dict(zip(chosen, vectors, strict=True))
    return torch.from_numpy(np.stack([parts[i] for i in range(len(rows))]))


def _padded(rows: Sequence[Sequence[int]], pad_id: int) -> tuple[Any, Any]:
    width = max(map(len, rows))
    ids = np.full((len(rows), width), pad_id, dtype=np.int64)
    mask = np.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, : len(row)], mask[i, : len(row)] = row, 1
    return ids, mask


def usage(_request: Request) -> str:
    """Return the card's lines of code."""
    return """\
```python
import numpy as np
import onnxruntime
from tokenizers import Tokenizer

<place>
tokenizer = Tokenizer.from_file(f"{place}/tokenizer.json")  # pads and cuts by itself
session = onnxruntime.InferenceSession(f"{place}/model.onnx")
<sentences>
encodings = tokenizer.encode_batch(sentences)
ids = np.array([encoding.ids for encoding in encodings])
mask = np.array([encoding.attention_mask for encoding in encodings])
(vectors,) = session.run(None, {"input_ids": ids, "attention_mask": mask})
```
"""
