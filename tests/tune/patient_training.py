"""The product's training function with a check of its process group, in a module that workers can import."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from themo.config.settings import Settings
from themo.data.dataset import TrainingData
from themo.training.loop import train

TRAINERS = "trainers"
"""Folder of the logs with a file for each process that trained, named by its id."""


def train_patiently(settings: Settings, data: TrainingData, **arguments: Any) -> object:
    """Train; refuse a group that does not wait for days for a process, such as one without room."""
    begun = Path(settings.paths.logs_dir) / TRAINERS
    begun.mkdir(exist_ok=True)
    (begun / str(os.getpid())).touch()
    options = dist.distributed_c10d._get_default_group()._get_backend(torch.device("cpu")).options
    assert options._timeout > timedelta(days=7)
    return train(settings, data, **arguments)
