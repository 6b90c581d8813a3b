"""Rate and exactness of the runtimes that encode texts, for a student of BETO's size with random weights.

    python -m benchmarks text_runtimes [--threads 2]

All runtimes encode the same sentences, one and 32 at a time, in rounds of alternating order. Rates are
compared by wall-clock time and by CPU time, which other work on the machine changes less. PyTorch in float32
is the version that answered in 63 ms; PyTorch as shipped multiplies bfloat16 where the CPU has units for it.

With `THEMO_BENCH_BERT`, a folder of an encoder with trained weights, cosines are also measured on this
encoder.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.image_search import beto_student
from benchmarks.measure import Goal, Options, Row
from benchmarks.synthetic import words
from themo.export.onnx_format import write_eight_bits
from themo.models.backbones import build_model
from themo.models.runtimes.choice import fastest
from themo.models.runtimes.graphs import write_graph, write_openvino
from themo.models.runtimes.sessions import OnnxSession, OpenVinoSession, TorchSession
from themo.models.student import Head, Student, encode_by_length, save_student
from themo.models.tokens import Tokenizer
from themo.process.progress import track

ROUNDS = 5
BATCHES = {1: 16, 32: 64}
"""Sentences of a round, by batch."""
N_TEXTS = 128
PLAIN, SHIPPED = "PyTorch float32", "PyTorch as shipped"
FAST, EXACT = Goal(3.0), Goal(0.9999)
TRAINED = "THEMO_BENCH_BERT"
Encode = Callable[[list[str], int], Tensor]


def run(options: Options) -> list[Row]:
    """Rows of rates and cosines."""
    with tempfile.TemporaryDirectory(prefix="themo-bench-") as name:
        folder = Path(name)
        student, tokenizer = beto_student(folder, options.seed)
        save_student(
            folder / "student", student.state_dict(), student.head, student.backbone.config, tokenizer
        )
        default = {"openvino": "OpenVINO", "onnx": "ONNX float32", "torch": SHIPPED}[
            fastest(folder / "student", "cpu")
        ]
        encoders = _encoders(folder, student, tokenizer)
        texts = sentences(options.seed)
        rows = _cosines("random weights", encoders, texts)
        for batch, n in BATCHES.items():
            rows += _rates(encoders, default, texts[:n], batch, options)
    return rows + _trained(options)


def sentences(seed: int) -> list[str]:
    """Sentences of pseudo-words, 8 in the median, as captions and queries have them."""
    random = np.random.default_rng(seed)
    lengths = random.lognormal(np.log(8), 0.4, N_TEXTS).round().clip(3, 40).astype(int)
    return [" ".join(random.choice(words(4_900), length)) for length in lengths]


def _encoders(folder: Path, student: Student, tokenizer: Tokenizer) -> dict[str, Encode]:
    write_graph(folder / "model.onnx", student)
    write_openvino(folder / "model.xml", student)
    write_eight_bits(folder / "model.onnx", folder / "model_int8.onnx")

    @torch.inference_mode()
    def plain(ids_BL: Tensor, mask_BL: Tensor | None) -> Tensor:
        vectors: Tensor = student(ids_BL, mask_BL)
        return vectors

    sessions: dict[str, Callable[[Tensor, Tensor | None], Tensor]] = {
        PLAIN: plain,
        SHIPPED: TorchSession(student),
        "ONNX float32": OnnxSession(folder / "model.onnx"),
        "ONNX int8": OnnxSession(folder / "model_int8.onnx"),
        "OpenVINO": OpenVinoSession(folder / "model.xml"),
        "OpenVINO float32": OpenVinoSession(folder / "model.xml", "f32"),
        "OpenVINO int8 weights": OpenVinoSession(_eight_bit_weights(folder / "model.xml")),
    }

    def encoder(session: Callable[[Tensor, Tensor | None], Tensor]) -> Encode:
        return lambda texts, batch: encode_by_length(session, student.head, tokenizer, texts, batch)

    return {name: encoder(session) for name, session in sessions.items()}


def _eight_bit_weights(path: Path) -> Path:
    """Write a graph whose matrices have 8 bits, a scale per output; OpenVINO rounds inputs by groups."""
    import openvino
    import openvino.opset13 as ops

    model = openvino.Core().read_model(path)
    for node in model.get_ordered_ops():
        if node.get_type_name() != "MatMul":
            continue
        weight = node.input_value(1).get_node()
        if weight.get_type_name() == "Convert":
            weight = weight.input_value(0).get_node()
        if weight.get_type_name() != "Constant" or len(weight.get_output_shape(0)) != 2:
            continue
        values = weight.data.astype(np.float32)
        axis = 1 if node.get_attributes()["transpose_b"] else 0
        scale = np.abs(values).max(axis=axis, keepdims=True) / 127
        scale[scale == 0] = 1
        small = ops.convert(ops.constant(np.round(values / scale).astype(np.int8)), "f32")
        node.input(1).replace_source_output(ops.multiply(small, ops.constant(scale)).output(0))
    openvino.save_model(model, path.with_name("model_int8.xml"), compress_to_fp16=False)
    return path.with_name("model_int8.xml")


def _cosines(weights: str, encoders: dict[str, Encode], texts: list[str]) -> list[Row]:
    exact = encoders[PLAIN](texts, 32)
    rows = []
    for name, encode in encoders.items():
        if name != PLAIN:
            cosines = functional.cosine_similarity(encode(texts, 32), exact)
            goal = EXACT if name in ("OpenVINO", "ONNX float32") else None
            detail = f"mean {cosines.mean():.6f}, {len(texts)} sentences, {weights}"
            rows.append(Row(f"{name}, lowest cosine", cosines.min().item(), "", goal, detail=detail))
    return rows


def _rates(
    encoders: dict[str, Encode], default: str, texts: list[str], batch: int, options: Options
) -> list[Row]:
    clock: dict[str, list[float]] = {name: [] for name in encoders}
    processor: dict[str, list[float]] = {name: [] for name in encoders}
    with track(f"Encoding, batch {batch}", ROUNDS + 1, "rounds") as advance:
        for number in range(-1, ROUNDS):
            for name in list(encoders)[:: 1 if number % 2 else -1]:
                start, used = time.perf_counter(), time.process_time()
                encoders[name](texts, batch)
                if number >= 0:
                    clock[name].append(1000 * (time.perf_counter() - start) / len(texts))
                    processor[name].append(1000 * (time.process_time() - used) / len(texts))
            advance(1)
    rows = []
    for name in encoders:
        for base in (PLAIN, SHIPPED):
            if name == base:
                continue
            ratios, by_processor = (
                [a / b for a, b in zip(times[base], times[name], strict=True)] for times in (clock, processor)
            )
            rows.append(
                Row(
                    f"{name}, batch {batch}: {base} = 1",
                    statistics.median(by_processor),
                    "x",
                    FAST if name == default and base == PLAIN else None,
                    (min(by_processor), max(by_processor)),
                    f"by CPU time, {statistics.median(processor[name]):.1f} ms per text; by wall-clock time "
                    f"{statistics.median(ratios):.2f} x, {statistics.median(clock[name]):.1f} ms per text",
                    (options.seed,),
                )
            )
    return rows


def _trained(options: Options) -> list[Row]:
    place = os.environ.get(TRAINED)
    if place is None:
        return [Row("trained weights, lowest cosines", None, "", detail=f"skipped: set {TRAINED}")]
    backbone = build_model(place, weights=True)
    width = backbone.config.hidden_size
    student = Student(backbone, Head(width, "mean", False, False, 77))
    with torch.no_grad():
        student.projection.weight.copy_(torch.eye(width))
    with tempfile.TemporaryDirectory(prefix="themo-bench-") as folder:
        encoders = _encoders(Path(folder), student.eval(), Tokenizer.load(place))
        return _cosines(f"trained weights of {Path(place).name}", encoders, sentences(options.seed))
