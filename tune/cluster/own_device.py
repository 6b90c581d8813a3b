"""The device of a worker: a GPU only where Ray gave it one, since Ray hides no GPU from who gets none."""

from __future__ import annotations

import platform

import torch

from themo.process.devices import Device


class DeviceError(Exception):
    """The worker's GPU cannot be used, or no longer by this process: no fault of the trial's."""


def own_device(device: Device, gpus: float, owner: str) -> Device:
    """Where a worker computes, by what it was given.

    Args:
        device: What was asked for.
        gpus: GPUs, or part of one, that Ray gave the worker.
        owner: Who was given them, for the error.

    Returns:
        ``cpu`` in place of ``auto`` where torch sees a GPU that the worker was not given; else as asked for.

    Raises:
        DeviceError: The worker was given a GPU, and torch sees none.
    """
    sees_gpus = torch.cuda.is_available()
    if gpus and device != "cpu" and not sees_gpus:
        raise DeviceError(f"torch sees no GPU on {platform.node()}, where {owner} was given one")
    return "cpu" if device == "auto" and sees_gpus and not gpus else device
