"""Refusal of graphs in ONNX: too large, or without the packages that write them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from themo.errors import InputError
from themo.export.refusals import PACKAGES, refuse_missing_packages
from themo.models.runtimes.choice import MOST_BYTES


def refuse_graph(
    format_name: str, part: str, module: nn.Module, packages: Sequence[str] | None = None
) -> None:
    """Refuse weights that are too large for a file, and missing packages.

    Args:
        format_name: The format that needs the graph.
        part: The weights, for the message.
        module: Holds the weights, written as float32.
        packages: Packages of the format; None: `PACKAGES`.

    Raises:
        InputError: A package is missing, or the weights are too large.
    """
    n_bytes = 4 * sum(parameter.numel() for parameter in module.parameters())
    if n_bytes > MOST_BYTES:
        raise InputError(
            f"--format {format_name} cannot export {part}: a graph has at most "
            f"{MOST_BYTES / 1e9:.1f} GB of weights, this one has {n_bytes / 1e9:.1f}"
        )
    refuse_missing_packages(f"--format {format_name}", packages or PACKAGES)
