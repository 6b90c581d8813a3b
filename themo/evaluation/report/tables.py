"""Tables of a test's scores for HTML pages, read from ``test.json``, by task and row."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from themo.errors import InputError, fault_of
from themo.evaluation.score_names import (
    ACCURACY,
    CEILING,
    DIRECTIONS,
    IMAGE_TO_TEXT,
    KS,
    MEAN_RECALL,
    RESERVED,
    RETRIEVAL,
    STUDENT,
    TEST_SETS,
    metric_name,
)

ROW_NAMES = {
    STUDENT: "student, Spanish",
    CEILING: "ceiling: the teacher, English",
    "teacher_es": "floor: the teacher, fed Spanish",
    "mclip": "Multilingual-CLIP, Spanish",
    "translated": "the teacher, fed translations",
}
"""Descriptions of the rows of scores."""

_TASKS = ((RETRIEVAL, "Retrieval", "captions"), (ACCURACY, "Accuracy", "images"))


@dataclass(frozen=True)
class Cell:
    """A share with its 95 % interval."""

    share: float
    low: float
    high: float


@dataclass(frozen=True)
class Lead:
    """The student's lead over a baseline.

    Attributes:
        name: Description of the baseline.
        cell: The difference of the shares at 1.
        needed: The least lead whose interval lies above 0; None if it is unknown.
    """

    name: str
    cell: Cell
    needed: float | None


@dataclass(frozen=True)
class TaskScores:
    """The rows of one task.

    Attributes:
        name: Title of the task, "Retrieval".
        queries: Number and kind of queries, "1,000 captions".
        rows: Key and name of each row, with a cell for each of `themo.evaluation.score_names.KS`.
        leads: The student's lead over each baseline.
    """

    name: str
    queries: str
    rows: tuple[tuple[str, str, tuple[Cell, ...]], ...]
    leads: tuple[Lead, ...]


_OF_SIZES = ("retrieval@01", "dimension", "megabytes", "ms_a_text", "texts_a_second")
"""Values of a form of the student that reports show."""


def read_scores(path: Path) -> dict[str, Any]:
    """Read the contents of a ``test.json``.

    Raises:
        InputError: The file cannot be read or is no record of a test.
    """
    try:
        scores: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        lay_out(scores)
        for size in scores.get("sizes", {}).values():
            _ = [float(size[name]) for name in _OF_SIZES]
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: is not a valid test record: {fault_of(error)}; "
            f"`test --version-path {path.parent}` writes a new one"
        ) from None
    return scores


def lay_out(scores: Mapping[str, Any]) -> list[TaskScores]:
    """Lay out the tables of scores, tasks then sets, given as by `themo.evaluation.scores.Scores.to_dict`."""
    keys = [key for key in scores if key not in RESERVED]
    tables = []
    for task, name, unit in _TASKS:
        if task not in scores["n"]:
            continue
        metrics = [metric_name(task, k) for k in KS]
        rows = tuple(
            (
                key,
                ROW_NAMES.get(key, key),
                tuple(Cell(float(scores[key][m]), *map(float, scores["ci95"][key][m])) for m in metrics),
            )
            for key in keys
        )
        leads = tuple(
            Lead(
                ROW_NAMES.get(key, key),
                Cell(*map(float, of_metric[metrics[0]])),
                scores.get("leads_above_0", {}).get(key, {}).get(metrics[0]),
            )
            for key, of_metric in scores.get("differences", {}).items()
        )
        tables.append(TaskScores(name, f"{int(scores['n'][task]):,} {unit}", rows, leads))
    return tables + list(_of_sets(scores.get(TEST_SETS, {})))


def _of_sets(sets: Mapping[str, Any]) -> Iterator[TaskScores]:
    """Yield a table for each direction of each set; a row's name holds its mean recall."""
    for of_set in sets.values():
        for direction in DIRECTIONS:
            metrics = [metric_name(direction, k) for k in KS]
            rows = tuple(
                (
                    key,
                    f"{ROW_NAMES.get(key, key)}; mean recall {row[f'{direction}_{MEAN_RECALL}']:.3f}",
                    tuple(Cell(float(row[m]), *map(float, of_set["ci95"][key][m])) for m in metrics),
                )
                for key, row in of_set["rows"].items()
            )
            name = f"{of_set['title']}: {direction.replace('_', ' ')}"
            yield TaskScores(name, queries_of_set(of_set, direction), rows, ())


def queries_of_set(of_set: Mapping[str, Any], direction: str) -> str:
    """Return number and kind of a direction's queries; languages have captions of their own number."""
    if direction == IMAGE_TO_TEXT:
        return f"{int(of_set['images']):,} images"
    counts = {row["language"]: int(row["captions"]) for row in of_set["rows"].values()}
    if len(set(counts.values())) == 1:
        return f"{next(iter(counts.values())):,} captions"
    return ", ".join(f"{n:,} captions ({code})" for code, n in counts.items())
