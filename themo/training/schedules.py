"""Learning rate as a pure function of the step, so that a resume needs no schedule state."""

from __future__ import annotations

import math
from typing import Literal


def learn_rate_at(
    step: int,
    *,
    peak: float,
    schedule: Literal["constant", "linear", "cosine"],
    warmup_steps: int,
    total_steps: int,
) -> float:
    """Learning rate of a step.

    Args:
        step: Step, from 0.
        peak: Learning rate at the end of the warm-up.
        schedule: Shape after the warm-up: constant at the peak, or decay to 0 at `total_steps`.
        warmup_steps: Steps of a linear rise; step 0 has ``peak / warmup_steps``.
        total_steps: Steps of the whole run.
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    if schedule == "constant":
        return peak
    left = (total_steps - step) / max(total_steps - warmup_steps, 1)
    return peak * (left if schedule == "linear" else (1 - math.cos(math.pi * left)) / 2)
