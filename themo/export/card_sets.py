"""The part of a model card on sets of captions that were scored in both directions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from themo.evaluation.report.tables import queries_of_set
from themo.evaluation.score_names import DIRECTIONS, KS, MEAN_RECALL, STUDENT, TEST_SETS, metric_name


def lines_of_sets(scores: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[str]:
    """Yield the rows of a card's table: a title for each direction of a set, then its encoders.

    Args:
        scores: Contents of ``test.json``.
        names: Descriptions of encoders, by row.
    """
    for of_set in scores.get(TEST_SETS, {}).values():
        for direction in DIRECTIONS:
            title = f"**{_name(of_set, direction)}**, {queries_of_set(of_set, direction)}"
            yield f"| {title} |" + " |" * len(KS)
            for key, row in of_set["rows"].items():
                metrics = [metric_name(direction, k) for k in KS]
                cells = [f"{row[m]:.3f} ({_range(of_set, key, m)})" for m in metrics]
                mean = row[f"{direction}_{MEAN_RECALL}"]
                yield f"| {names.get(key, key)}, mean recall {mean:.3f} | " + " | ".join(cells) + " |"


def results_of_sets(scores: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the results of a card's ``model-index``, one for each direction of a set."""
    for of_set in scores.get(TEST_SETS, {}).values():
        for direction in DIRECTIONS:
            row = of_set["rows"][STUDENT]
            metrics = [
                {
                    "type": f"recall_at_{k}",
                    "name": f"R@{k}, 95 % interval {_range(of_set, STUDENT, metric_name(direction, k))}",
                    "value": round(row[metric_name(direction, k)], 4),
                }
                for k in KS
            ]
            mean = round(row[f"{direction}_{MEAN_RECALL}"], 4)
            metrics.append({"type": MEAN_RECALL, "name": "mean of R@1, R@5 and R@10", "value": mean})
            task = f"{direction.replace('_', '-')}-retrieval"
            title = f"{of_set['title']}, {row['language']}"
            yield {
                "task": {"type": task, "name": task.capitalize().replace("-", " ")},
                "dataset": {"type": re.sub(r"[^a-z0-9]+", "-", title.lower()), "name": title},
                "metrics": metrics,
            }


def _name(of_set: Mapping[str, Any], direction: str) -> str:
    return f"{direction.replace('_', ' ').capitalize()} retrieval, {of_set['title']}"


def _range(of_set: Mapping[str, Any], row: str, metric: str) -> str:
    low, high = of_set["ci95"][row][metric]
    return f"{low:.3f} to {high:.3f}"
