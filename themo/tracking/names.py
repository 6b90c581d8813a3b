"""Metrics and settings by the names that MLflow takes and its plots compare."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

LOG10_RATE = "log10_learn_rate"
"""Param of the learning rate's logarithm: MLflow's plots have no logarithmic axis."""


def metric_name(name: str) -> str:
    """A metric's name as MLflow takes it: ``val/match@01`` is refused, ``val/match_at_01`` is not."""
    return re.sub(r"[^\w/.\- ]", "_", name.replace("@", "_at_"))


def comparison_params(values: Mapping[str, object]) -> dict[str, object]:
    """Settings as params of a run; with the logarithm of the learning rate."""
    params = dict(values)
    rate = params.get("learn_rate")
    if isinstance(rate, int | float) and rate > 0:
        params[LOG10_RATE] = round(math.log10(rate), 6)
    return params
