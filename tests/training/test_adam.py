"""The optimiser beside torch's."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from themo.training.adam import Adam

SHAPES = ((7, 5), (5,), (3, 2), (2,))
"""Two matrices, which decay, and two vectors; the first gets no gradient at first."""


def model(seed: int = 0) -> list[nn.Parameter]:
    random = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=random)) for shape in SHAPES]


def groups(parameters: list[nn.Parameter]) -> list[dict[str, object]]:
    return [
        {"params": parameters[::2], "weight_decay": 0.3},
        {"params": parameters[1::2], "weight_decay": 0.0},
    ]


def gradients(parameters: list[nn.Parameter], step: int) -> None:
    random = torch.Generator().manual_seed(100 + step)
    for parameter in parameters[1 if step == 0 else 0 :]:
        parameter.grad = torch.randn(parameter.shape, generator=random)


@pytest.mark.parametrize("decoupled", [False, True], ids=["adam", "adamw"])
def test_steps_equal_those_of_torch(decoupled: bool) -> None:
    ours, theirs = model(), model()
    own = Adam(groups(ours), decoupled=decoupled)
    other = (torch.optim.AdamW if decoupled else torch.optim.Adam)(groups(theirs), fused=True)
    for step in range(5):
        for optimizer, parameters in ((own, ours), (other, theirs)):
            gradients(parameters, step)
            for group in optimizer.param_groups:
                group["lr"] = 0.1 / (1 + step)
            optimizer.step()
            optimizer.zero_grad()
            assert all(parameter.grad is None for parameter in parameters)
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
        saved = other.state_dict()["state"]
        assert own.state.keys() == saved.keys()
    for number, moments in own.state.items():
        assert moments.keys() == saved[number].keys()
        assert all(torch.equal(moments[name], saved[number][name]) for name in moments)


def test_a_loaded_state_continues() -> None:
    whole, first = model(), model()
    optimizers = [Adam(groups(parameters), decoupled=True) for parameters in (whole, first)]
    for step in range(1, 5):
        if step == 3:
            again = Adam(groups(first), decoupled=True)
            again.load(optimizers[1].state)
            optimizers[1].state.clear()  # it was copied
            optimizers[1] = again
        for optimizer, parameters in zip(optimizers, (whole, first), strict=True):
            gradients(parameters, step)
            optimizer.param_groups[0]["lr"] = optimizer.param_groups[1]["lr"] = 0.1
            optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(whole, first, strict=True))


def test_a_first_parameter_without_gradient_keeps_its_place() -> None:
    parameters = model()
    optimizer = Adam(groups(parameters), decoupled=True)
    gradients(parameters, 0)
    optimizer.step()
    assert optimizer.state.keys() == {1, 2, 3}
    Adam(groups(parameters), decoupled=True).load(optimizer.state)


def test_states_of_other_parameters_are_refused() -> None:
    parameters = model()
    optimizer = Adam(groups(parameters), decoupled=True)
    gradients(parameters, 1)
    optimizer.step()
    state = {number: dict(moments) for number, moments in optimizer.state.items()}
    with pytest.raises(ValueError, match="has parameter 4, the student 4"):
        optimizer.load(state | {4: state[0]})
    with pytest.raises(ValueError, match=r"parameter 0 must have the shape \(7, 5\), got \(5,\) and"):
        optimizer.load(state | {0: state[0] | {"exp_avg": torch.zeros(5)}})
    del state[2]["step"]
    with pytest.raises(KeyError):
        optimizer.load(state)


def test_adam_does_not_import_torchs_compiler() -> None:
    program = (
        "import sys, torch; from themo.training.adam import Adam; p = torch.nn.Parameter(torch.ones(2)); "
        "p.grad = torch.ones(2); o = Adam([{'params': [p], 'weight_decay': 0.0}], decoupled=True); "
        "o.step(); o.zero_grad(); print('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
