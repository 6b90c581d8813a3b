"""MLflow's names of metrics and settings."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path

LOG10_RATE = "log10_learn_rate"
"""Param of the learning rate's logarithm: MLflow's plots have no logarithmic axis."""


def metric_name(name: str) -> str:
    """Return a metric's name in MLflow: ``val/match_at_01`` for ``val/match@01``, which MLflow refuses."""
    return re.sub(r"[^\w/.\- ]", "_", name.replace("@", "_at_"))


def comparison_params(values: Mapping[str, object]) -> dict[str, object]:
    """Settings as params of a run; with the logarithm of the learning rate.

    Paths below the working directory become relative to it, so that runs of several machines compare.
    """
    root = re.compile(rf"(?<![\w/.-]){re.escape(str(Path.cwd()))}(?:/|(?=$|['\",\]]))")
    params = {name: _relative(value, root) for name, value in values.items()}
    rate = params.get("learn_rate")
    if isinstance(rate, int | float) and rate > 0:
        params[LOG10_RATE] = round(math.log10(rate), 6)
    return params


def version_name(version: Path, logs_dir: Path) -> str:
    """The name of a version's run: its path below the logs, such as ``miniature/version_0``.

    Outside the logs it is the path below the working directory, or else the last two parts of the path.
    """
    path = version.resolve()
    for root in (logs_dir.resolve(), Path.cwd()):
        if path.is_relative_to(root) and path != root:
            return str(path.relative_to(root))
    return "/".join(path.parts[-2:])


def _relative(value: object, root: re.Pattern[str]) -> object:
    if isinstance(value, list | tuple):
        return [_relative(item, root) for item in value]
    if isinstance(value, str):
        return (root.sub("", value) or ".") if value else value
    return value
