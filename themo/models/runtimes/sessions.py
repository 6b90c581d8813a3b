"""Sessions: a student's computation in one runtime, from token ids to vectors.

Every session is called with ids (B, L) int64 and a mask (B, L) bool, None where all tokens are real, and
returns (B, D) float32 on the CPU. Threads may share one. A copy in another process opens the file again.
"""

from __future__ import annotations

import os
import threading
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from themo.models.bert import LayerWeights
from themo.models.runtimes.choice import Chosen
from themo.models.runtimes.graphs import INPUTS, open_graph
from themo.models.student import Student


class Session(Protocol):
    """A student's computation.

    Attributes:
        runtime: Name of the runtime.
    """

    runtime: Chosen

    @property
    def device(self) -> torch.device:
        """Device of the weights."""

    def __call__(self, ids_BL: Tensor, mask_BL: Tensor | None) -> Tensor:
        """Return the vectors of a batch."""


class TorchSession:
    """A student in PyTorch: products are in bfloat16 where the CPU has units for them."""

    runtime: Chosen = "torch"

    def __init__(self, student: Student) -> None:
        self._student = student
        self._process = os.getpid()

    @property
    def device(self) -> torch.device:
        """Device of the student."""
        return self._student.projection.weight.device

    @torch.inference_mode()
    def __call__(self, ids_BL: Tensor, mask_BL: Tensor | None) -> Tensor:
        """Return the vectors of a batch."""
        # a forked child stays in float32: bfloat16 products after the parent's threads are not tested there
        weights = self._weights if os.getpid() == self._process else None
        mask_BL = None if mask_BL is None else mask_BL.to(self.device)
        vectors_BD: Tensor = self._student(ids_BL.to(self.device), mask_BL, weights)
        return vectors_BD.cpu()

    @cached_property
    def _weights(self) -> list[LayerWeights] | None:
        return self._student.weights_for_encoding()


class OnnxSession:
    """A student's graph in ONNX Runtime, in float32, on as many threads as PyTorch has."""

    runtime: Chosen = "onnx"
    device = torch.device("cpu")

    def __init__(self, path: Path) -> None:
        self._path = path
        self._session = open_graph(path, torch.get_num_threads())

    def __reduce__(self) -> tuple[type[OnnxSession], tuple[Path]]:
        return OnnxSession, (self._path,)

    def __call__(self, ids_BL: Tensor, mask_BL: Tensor | None) -> Tensor:
        """Return the vectors of a batch."""
        (vectors_BD,) = self._session.run(None, _inputs(ids_BL, mask_BL))
        return torch.from_numpy(vectors_BD)


class OpenVinoSession:
    """A student's graph in OpenVINO, on as many threads as PyTorch has.

    Args:
        path: The graph.
        precision: ``"f32"`` or ``"bf16"``; None: bfloat16 where the CPU has units for it.
    """

    runtime: Chosen = "openvino"
    device = torch.device("cpu")

    def __init__(self, path: Path, precision: str | None = None) -> None:
        import openvino

        self._file = path, precision
        config = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "PERFORMANCE_HINT": "LATENCY"}
        if precision is not None:
            config["INFERENCE_PRECISION_HINT"] = precision
        self._model = openvino.Core().compile_model(path, "CPU", config)
        self._of_thread = threading.local()  # a request serves one thread at a time

    def __reduce__(self) -> tuple[type[OpenVinoSession], tuple[Path, str | None]]:
        return OpenVinoSession, self._file

    def __call__(self, ids_BL: Tensor, mask_BL: Tensor | None) -> Tensor:
        """Return the vectors of a batch."""
        request = getattr(self._of_thread, "request", None)
        if request is None:
            request = self._of_thread.request = self._model.create_infer_request()
        results = request.infer(_inputs(ids_BL, mask_BL))
        return torch.from_numpy(results[0].copy())  # the next call overwrites its memory


def _inputs(ids_BL: Tensor, mask_BL: Tensor | None) -> dict[str, Any]:
    mask = torch.ones_like(ids_BL) if mask_BL is None else mask_BL.long()
    return dict(zip(INPUTS, (ids_BL.numpy(), mask.numpy()), strict=True))
