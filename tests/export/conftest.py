"""Finished versions to export."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny import SettingsFactory

from themo.data.preparation import prepare_data
from themo.export.source import Source
from themo.files.weights import write_weights
from themo.training.loop import train

VersionFactory = Callable[..., Path]


@pytest.fixture
def version(settings: SettingsFactory, tmp_path: Path) -> VersionFactory:
    """`version(pooling="first", ...)`: the directory of a short run with these settings, its head stirred."""

    def make(**leaves: Any) -> Path:
        config = settings(epochs=0.2, **leaves)
        folder = tmp_path / "logs" / "version_0"
        train(config, prepare_data(config), report=lambda last: last.save(folder))
        _stir(folder / "student")
        return folder

    return make


@pytest.fixture
def source(version: VersionFactory) -> Callable[..., Source]:
    """`source(pooling="first", ...)`: the same, opened."""
    return lambda **leaves: Source.open(version(**leaves))


def _stir(student: Path) -> None:
    """Make biases and layer norms matter: after so short a run they are nearly what they began as."""
    random = torch.Generator().manual_seed(0)
    for name, ending in (("head", ""), ("model", "output.LayerNorm")):
        path = student / f"{name}.safetensors"
        tensors = load_file(path)
        for key, tensor in tensors.items():
            is_norm = "norm" in key.lower()
            if (is_norm and ending in key) or key.endswith("projection.bias"):
                tensor += torch.randn(tensor.shape, generator=random) * 0.3
        write_weights(tensors, path, {"format": "pt"})
