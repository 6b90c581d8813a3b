"""A student's graph in ONNX, written by torch's exporter and checked by onnx, and for OpenVINO."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from themo.models.bert import BertEncoder
from themo.models.student import Student

INPUTS = ("input_ids", "attention_mask")
OUTPUT = "sentence_embedding"
_OPSET = 18


class _States(nn.Module):
    """A student's backbone under the names of its inputs."""

    def __init__(self, student: Student) -> None:
        super().__init__()
        self.backbone = student.backbone

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        states: Tensor = self.backbone(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return states


class _Graph(nn.Module):
    """A student under the names of its inputs."""

    def __init__(self, student: Student) -> None:
        super().__init__()
        self.student = student

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        vectors: Tensor = self.student(input_ids, attention_mask)
        return vectors


def write_graph(path: Path, student: Student) -> None:
    """Write a student as a graph from ids and mask, (B, L) int64, to vectors, (B, E) float32."""
    _write(path, student, _Graph, OUTPUT)


def write_states(path: Path, student: Student) -> None:
    """Write a student's backbone as a graph from ids and mask to states of tokens, (B, L, H) float32."""
    _write(path, student, _States, "last_hidden_state")


def _write(path: Path, student: Student, kind: Callable[[Student], nn.Module], output: str) -> None:
    example = torch.tensor([[1, 1, 1], [1, 1, 1]]), torch.tensor([[1, 1, 1], [1, 1, 0]])
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length", max=student.head.max_length)}
    with plain_attention(student):
        inputs = dict(zip(INPUTS, example, strict=True))
        write_module(path, kind(student), inputs, output, dict.fromkeys(INPUTS, axes))


def write_openvino(
    path: Path, student: Student, write: Callable[[Path, Student], None] = write_graph
) -> None:
    """Write a graph for OpenVINO: ``NAME.xml``, and its weights in float16 in ``NAME.bin``.

    Args:
        path: ``NAME.xml``.
        student: The student.
        write: Writes the graph in ONNX.
    """
    import openvino

    onnx = path.with_name(f".{path.stem}.unfinished.onnx")  # beside a graph of that name
    write(onnx, student)
    openvino.save_model(openvino.Core().read_model(onnx), path, compress_to_fp16=True)
    onnx.unlink()


def write_module(
    path: Path, module: nn.Module, inputs: Mapping[str, Tensor], output: str, axes: Mapping[str, Any]
) -> None:
    """Write a module as a graph.

    Args:
        path: The file.
        module: Takes the inputs by position and returns one tensor.
        inputs: Examples by name.
        output: Name of the output.
        axes: Dimensions of any size, as `torch.export.Dim`, by input.
    """
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's warnings about itself
            torch.onnx.export(
                module.eval(),
                tuple(inputs.values()),
                str(path),
                input_names=list(inputs),
                output_names=[output],
                dynamic_shapes=dict(axes),
                opset_version=_OPSET,
                external_data=False,
                dynamo=True,
                verbose=False,
            )
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
    _tidy(path)


def open_graph(path: Path, threads: int | None = None) -> Any:
    """A session of onnxruntime on the CPU; threads None: as many as cores."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    if threads is not None:
        options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


@contextmanager
def plain_attention(student: Student) -> Iterator[None]:
    """Attention as plain products and a softmax, which every runtime supports, for a block."""
    own: Any = student.backbone
    if isinstance(own, BertEncoder):
        from themo.models.other_encoders import with_plain_attention

        student.backbone = with_plain_attention(own)
        try:
            yield
        finally:
            student.backbone = own
        return
    attention = own.config._attn_implementation
    own.set_attn_implementation("eager")
    try:
        yield
    finally:
        own.set_attn_implementation(attention)


def _tidy(path: Path) -> None:
    """Remove torch's metadata from the graph: source paths, and shapes that int8 contradicts."""
    import onnx

    model = onnx.load(path)
    del model.graph.value_info[:]
    for node in model.graph.node:
        del node.metadata_props[:]
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
