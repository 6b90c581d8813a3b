"""Names of tasks, rows and metrics in ``test.json``; imports no library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RETRIEVAL = "retrieval"
ACCURACY = "accuracy"
KS = (1, 5, 10)
STUDENT = "student"
CEILING = "ceiling"
TEST_SETS = "test_sets"
"""Key of the sets of captions that are scored in both directions."""
RESERVED = (
    *("n", "ci95", "retention", "differences", "leads_above_0", "equal_prompts"),
    *(TEST_SETS, "benchmarks", "sizes"),
)
"""Keys of `Scores.to_dict` that are no rows."""
OF_ROWS = ("language", "captions")
"""Keys of a row of a test set that are no shares."""
TEXT_TO_IMAGE = "text_to_image"
IMAGE_TO_TEXT = "image_to_text"
DIRECTIONS = (TEXT_TO_IMAGE, IMAGE_TO_TEXT)
MEAN_RECALL = "mean_recall"


def metric_name(task: str, k: int) -> str:
    """Name a metric as files, tables and MLflow do: ``retrieval@01``."""
    return f"{task}@{k:02d}"


def row_metric(row: str, name: str) -> str:
    """Name a row's metric as MLflow does: ``test/retrieval@01``, of other rows ``test/ceiling/...``."""
    return "/".join(["test", *([] if row == STUDENT else [row]), name])


def logged_scores(tested: Mapping[str, Any]) -> dict[str, float]:
    """Return the shares of a ``test.json`` by MLflow's names: ``test/ceiling/xm3600/text_to_image@01``."""
    rows = [(row, "", shares) for row, shares in tested.items() if row not in RESERVED]
    for key, of_set in tested.get(TEST_SETS, {}).items():
        rows += [(row, f"{key}/", shares) for row, shares in of_set["rows"].items()]
    return {
        row_metric(row, prefix + name): float(value)
        for row, prefix, shares in rows
        for name, value in shares.items()
        if name not in OF_ROWS
    }
