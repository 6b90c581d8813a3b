"""The choice of a runtime, made before any library of models is imported."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, get_args

from themo.errors import InputError
from themo.files.weights import SAFE_WEIGHTS
from themo.process.devices import multiplies_bfloat16

Runtime = Literal["auto", "torch", "onnx", "openvino"]
Chosen = Literal["torch", "onnx", "openvino"]
RUNTIMES: tuple[Runtime, ...] = get_args(Runtime)
TITLES: dict[Chosen, str] = {"torch": "PyTorch", "onnx": "ONNX Runtime", "openvino": "OpenVINO"}

PACKAGES: dict[str, tuple[str, ...]] = {
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "openvino": ("onnx", "onnxscript", "openvino"),
}
"""Packages that write a graph and run it, by runtime."""
MOST_BYTES = 2_000_000_000
"""Greatest size of a graph's weights: it is one file of at most 2 GiB."""
_LEAST_BYTES = 80_000_000
"""Least size of a student for a graph: smaller students do not repay the time to build one."""
_KINDS = ("bert", "camembert", "roberta", "xlm-roberta")
"""Types of encoders that `benchmarks/text_runtimes.py` measures."""


def install_command(extra: str) -> str:
    """Return the command that adds an extra to the environment, as the Makefile installs it."""
    return f".venv/bin/uv pip install --constraint requirements.lock --editable '.[{extra}]'"


def missing_packages(runtime: str) -> list[str]:
    """Return the packages of a runtime that are not installed."""
    return [name for name in PACKAGES.get(runtime, ()) if find_spec(name) is None]


def refuse_runtime(runtime: Runtime, device: str) -> None:
    """Refuse a runtime that is unknown, not installed, or requested on a GPU.

    Raises:
        InputError: The runtime is refused.
    """
    if runtime not in RUNTIMES:
        raise InputError(f"runtime: must be one of {', '.join(RUNTIMES)}, got {runtime!r}")
    if missing := missing_packages(runtime):
        raise InputError(
            f"runtime {runtime!r} needs the extra `export` (missing: {', '.join(missing)}): "
            f"{install_command('export')}"
        )
    if runtime in PACKAGES and device == "cuda":
        raise InputError(f"runtime {runtime!r} computes on a CPU, got device 'cuda'")


def fastest(student: Path, device: str) -> Chosen:
    """Return the fastest installed runtime for a student whose vectors have a cosine of 0.9999 or more.

    OpenVINO, at 4 times PyTorch's rate in float32; without it ONNX Runtime, at twice that rate, where
    the CPU does not multiply bfloat16, as PyTorch does else (docs/experiments/text-runtimes.md).

    Args:
        student: Folder of the student.
        device: ``"cpu"`` or ``"cuda"``.
    """
    if device != "cpu" or not _is_worth_a_graph(student):
        return "torch"
    if not missing_packages("openvino"):
        return "openvino"
    if not missing_packages("onnx") and not multiplies_bfloat16():
        return "onnx"
    return "torch"


def _is_worth_a_graph(student: Path) -> bool:
    try:
        n_bytes = (student / SAFE_WEIGHTS).stat().st_size
        kind = json.loads((student / "config.json").read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError):
        return False  # a damaged student is refused when PyTorch reads it
    return _LEAST_BYTES <= n_bytes <= MOST_BYTES and kind in _KINDS
