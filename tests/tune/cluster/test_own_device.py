"""Trials and readers of teacher vectors use a GPU only where Ray gave them one."""

from __future__ import annotations

import platform
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from themo.errors import InputError
from themo.models.teacher import Teacher
from themo.process.devices import Device
from tune.cluster import teacher_vectors
from tune.cluster.own_device import DeviceError, own_device
from tune.cluster.teacher_vectors import _Reader, encoder_on


@pytest.mark.parametrize(
    ("device", "gpus", "expected"),
    [
        ("auto", 0.0, "cpu"),
        ("auto", 1.0, "auto"),
        ("auto", 0.5, "auto"),
        ("cpu", 0.0, "cpu"),
        ("cpu", 1.0, "cpu"),
        ("cuda", 1.0, "cuda"),
        ("cuda", 0.0, "cuda"),
    ],
)
def test_a_gpu_is_used_where_it_was_given(
    monkeypatch: pytest.MonkeyPatch, device: Device, gpus: float, expected: Device
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert own_device(device, gpus, "the trial") == expected


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_a_given_gpu_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch, device: Device) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    said = f"torch sees no GPU on {platform.node()}, where the teacher was given one"
    with pytest.raises(DeviceError, match=said):
        _Reader(("any", None), device, "state", 1.0)


@pytest.mark.parametrize(
    ("device", "gpus", "read_on"), [("auto", 0.0, "cpu"), ("auto", 1.0, "cuda"), ("cpu", 0.0, "cpu")]
)
def test_a_reader_reads_where_ray_put_it(
    monkeypatch: pytest.MonkeyPatch, device: Device, gpus: float, read_on: str
) -> None:
    loaded: list[str] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(Teacher, "load", lambda *arguments: loaded.append(arguments[-1]))
    _Reader(("any", None), device, "state", gpus)
    assert loaded == [read_on]


@pytest.mark.parametrize(
    ("device", "machines", "gpus", "n_readers"),
    [
        ("auto", [{"CPU": 4.0}, {"CPU": 2.0}], 0.0, 6),
        ("auto", [{"CPU": 4.0}, {"CPU": 2.0, "GPU": 2.0}], 1.0, 2),
        ("cpu", [{"CPU": 4.0, "GPU": 2.0}], 0.0, 4),
        ("cuda", [{"CPU": 4.0, "GPU": 1.0}], 1.0, 1),
    ],
)
def test_readers_receive_rays_input(
    monkeypatch: pytest.MonkeyPatch,
    device: Device,
    machines: list[dict[str, float]],
    gpus: float,
    n_readers: int,
) -> None:
    asked = _asked(monkeypatch, machines)
    list(encoder_on("head:6379")(("any", None), device, iter([]), "state"))
    assert asked == [((("any", None), device, "state", gpus), n_readers)]


def test_a_teacher_on_gpus_that_ray_does_not_have_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _asked(monkeypatch, [{"CPU": 4.0}])
    with pytest.raises(InputError, match="cannot run on the cluster: Ray has no GPU for it"):
        list(encoder_on("head:6379")(("any", None), "cuda", iter([]), "state"))
    assert not asked


def _asked(monkeypatch: pytest.MonkeyPatch, machines: list[dict[str, float]]) -> list[Any]:
    """Readers that a cluster of such machines is asked for."""
    asked: list[Any] = []

    def encode(_: object, of_reader: object, n_readers: int) -> list[object]:
        asked.append((of_reader, n_readers))
        return []

    cluster = SimpleNamespace(machines=lambda: dict(enumerate(machines)))
    monkeypatch.setattr(teacher_vectors, "connect", lambda *_: nullcontext(cluster))
    monkeypatch.setattr(teacher_vectors, "_encode", encode)
    return asked
