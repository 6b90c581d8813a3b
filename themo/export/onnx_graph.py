"""Graphs in ONNX, written by torch's exporter and checked by onnx."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from themo.errors import InputError
from themo.export.refusals import PACKAGES
from themo.models.student import Student

MOST_BYTES = 2_000_000_000
"""Greatest size of weights: a graph is one file of at most 2 GiB."""
_OPSET = 18


def refuse_graph(format_name: str, part: str, module: nn.Module) -> None:
    """Refuse weights that are too large for a file, and missing packages.

    Args:
        format_name: The format that needs the graph.
        part: The weights, for the message.
        module: Holds the weights, written as float32.

    Raises:
        InputError: A package is missing, or the weights are too large.
    """
    n_bytes = 4 * sum(parameter.numel() for parameter in module.parameters())
    if n_bytes > MOST_BYTES:
        raise InputError(
            f"--format {format_name} cannot hold {part}: a graph has at most "
            f"{MOST_BYTES / 1e9:.1f} GB of weights, this one has {n_bytes / 1e9:.1f}"
        )
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise InputError(
            f"--format {format_name} needs {', '.join(missing)}: install themo with the extra 'export'"
        )


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


def open_graph(path: Path) -> Any:
    """A session of onnxruntime on the CPU."""
    import onnxruntime

    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@contextmanager
def plain_attention(student: Student) -> Iterator[None]:
    """Attention as plain products and a softmax, which every runtime supports, for a block."""
    attention = student.backbone.config._attn_implementation  # type: ignore[union-attr]
    student.backbone.set_attn_implementation("eager")  # type: ignore[operator]
    try:
        yield
    finally:
        student.backbone.set_attn_implementation(attention)  # type: ignore[operator]


def _tidy(path: Path) -> None:
    """Remove torch's metadata from the graph: source paths, and shapes that int8 contradicts."""
    import onnx

    model = onnx.load(path)
    del model.graph.value_info[:]
    for node in model.graph.node:
        del node.metadata_props[:]
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
