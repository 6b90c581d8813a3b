"""The device of a worker: a GPU only if Ray assigned one. Ray hides no GPU from other workers."""

from __future__ import annotations

import platform

from themo.process.devices import Device


class DeviceError(Exception):
    """The worker cannot use its GPU; the trial is not the cause."""


def own_device(device: Device, gpus: float, owner: str) -> Device:
    """The device on which a worker computes.

    Args:
        device: The requested device.
        gpus: GPUs, or fraction of a GPU, that Ray assigned to the worker.
        owner: Owner of the GPUs, for the error message.

    Returns:
        ``cpu`` in place of ``auto`` if torch sees a GPU that is not the worker's; otherwise `device`.

    Raises:
        DeviceError: The worker has a GPU, but torch sees none.
    """
    import torch  # the driver of a search names the error, and has no torch

    sees_gpus = torch.cuda.is_available()
    if gpus and device != "cpu" and not sees_gpus:
        raise DeviceError(f"torch sees no GPU on {platform.node()}, where {owner} was given one")
    return "cpu" if device == "auto" and sees_gpus and not gpus else device
