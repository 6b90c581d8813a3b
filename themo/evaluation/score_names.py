"""Names of tasks, rows and metrics in ``test.json``, without what computes the scores."""

from __future__ import annotations

RETRIEVAL = "retrieval"
ACCURACY = "accuracy"
KS = (1, 5, 10)
STUDENT = "student"
CEILING = "ceiling"
RESERVED = ("n", "ci95", "retention", "differences", "leads_above_0", "equal_prompts", "benchmarks", "sizes")
"""Keys of `Scores.to_dict` that are no rows."""


def metric_name(task: str, k: int) -> str:
    """Name a metric as files, tables and MLflow do: ``retrieval@01``."""
    return f"{task}@{k:02d}"
