"""Adam and AdamW by torch's fused kernels.

`torch.optim.Adam` does the same steps, but making one imports torch's compiler, `torch._dynamo`: a second of
processor time and 160 MB in each process that trains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

BETAS = (0.9, 0.999)
EPS = 1e-8


class Adam:
    """Adam (Kingma and Ba, 2015), or AdamW (Loshchilov and Hutter, 2019).

    Args:
        groups: Parameter groups: ``params``, a list of parameters, and their ``weight_decay``.
        decoupled: Whether weights decay directly, as in AdamW, instead of through their gradients.

    Attributes:
        param_groups: The groups, with the learning rate ``lr`` of each, which the caller sets.
        state: ``step``, ``exp_avg`` and ``exp_avg_sq`` of each parameter that had a gradient, by its index
            over all groups.
    """

    def __init__(self, groups: Sequence[Mapping[str, Any]], *, decoupled: bool) -> None:
        self.param_groups: list[dict[str, Any]] = [{"lr": 0.0, **group} for group in groups]
        self.state: dict[int, dict[str, Tensor]] = {}
        self._decoupled = decoupled

    @property
    def _parameters(self) -> list[nn.Parameter]:
        return [parameter for group in self.param_groups for parameter in group["params"]]

    @torch.no_grad()
    def step(self) -> None:
        """Update the parameters that have gradients, in place."""
        number = 0
        for group in self.param_groups:
            moved: list[nn.Parameter] = []
            states: list[dict[str, Tensor]] = []
            for parameter in group["params"]:
                if parameter.grad is not None:
                    moved.append(parameter)
                    states.append(self._state_of(number, parameter))
                number += 1
            if not moved:
                continue
            adam(
                moved,  # type: ignore[arg-type]  # a list of tensors
                [parameter.grad for parameter in moved],  # type: ignore[misc]  # not None
                [state["exp_avg"] for state in states],
                [state["exp_avg_sq"] for state in states],
                [],
                [state["step"] for state in states],
                fused=True,
                decoupled_weight_decay=self._decoupled,
                amsgrad=False,
                beta1=BETAS[0],
                beta2=BETAS[1],
                lr=group["lr"],
                weight_decay=group["weight_decay"],
                eps=EPS,
                maximize=False,
            )

    def _state_of(self, number: int, parameter: Tensor) -> dict[str, Tensor]:
        if number not in self.state:
            self.state[number] = {
                "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }
        return self.state[number]

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self._parameters:
            parameter.grad = None

    def load(self, state: Mapping[int, Mapping[str, Tensor]]) -> None:
        """Load a `state`, such as a checkpoint's; tensors are copied to the parameters' devices.

        Raises:
            ValueError: The state belongs to other parameters.
            KeyError: A moment is missing.
        """
        parameters = self._parameters
        loaded = {}
        for number, moments in state.items():
            if number >= len(parameters):
                raise ValueError(
                    f"the optimiser's state has parameter {number}, the student {len(parameters)}"
                )
            parameter = parameters[number]
            step, *means = (moments[name] for name in ("step", "exp_avg", "exp_avg_sq"))
            if any(mean.shape != parameter.shape for mean in means):
                raise ValueError(
                    f"the optimiser's state of parameter {number} must have the shape "
                    f"{tuple(parameter.shape)}, got {' and '.join(str(tuple(mean.shape)) for mean in means)}"
                )
            device = parameter.device
            first, second = (mean.to(device, parameter.dtype, copy=True) for mean in means)
            loaded[number] = {
                "step": step.to(device, torch.float32, copy=True),
                "exp_avg": first,
                "exp_avg_sq": second,
            }
        self.state = loaded
