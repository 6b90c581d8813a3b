"""The runs that MLflow should show, computed from the record on disk.

The source of truth is the record: ``study.json``, ``reports.jsonl`` and ``best/`` of a search;
``metrics.csv``, ``summary.json`` and ``test.json`` of a version. A `Projection` holds the runs that follow
from the record: name, parent, params, tags, metrics by step, scores, files, start, end and status.
`themo.tracking.mirror` reads the server's state once, by the tags of key and step, and sends only the
difference. Sending is idempotent, so that a kill, an unreachable server or another server needs no journal.
`themo.tracking.runs` sends in a thread during a run and once at its end, the command ``send`` later; training
and searches never wait for it. Parts that a healthy server rejects are dropped with a warning; failed parts
are retried and do not block the others.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from themo.tracking.names import metric_name

Status = Literal["FINISHED", "FAILED", "KILLED"]
"""Final status of a run in MLflow; KILLED: a trial that was stopped early, or an interrupted run."""

_METRICS_A_BATCH, _ENTRIES_A_BATCH = 900, 100
"""Below the limits of one call of MLflow: 1,000 metrics, 100 parameters or tags."""

T = TypeVar("T")

RunStatus = Status | Literal["RUNNING"]


@dataclass(frozen=True)
class Point:
    """A report of a run.

    Attributes:
        step: Searches and training count steps in sentence pairs.
        at: Milliseconds since the epoch.
        metrics: Values by Themo's names; MLflow gets the finite ones.
    """

    step: int
    at: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Run:
    """A run as MLflow should show it.

    Attributes:
        key: Identifies the run on every server: its tag `themo.tracking.mirror.KEY_TAG`.
        name: Name in MLflow's table of runs.
        params: Columns of the comparison view; a param on the server never changes.
        tags: All tags but those of `first_tags`.
        first_tags: Tags of a new run, which are not updated.
        parent: Key of the parent run; None: no parent.
        points: Reports in the order of their steps. A run keeps its first report of a step: a trial that
            resumes from a checkpoint repeats the reports after it.
        scores: Metrics without a step, such as scores of a test: the last value counts.
        files: Content of text artefacts by name.
        owned: Prefixes of tags that are removed where `tags` lacks them.
        started, ended: Milliseconds since the epoch; None: unknown, the time of sending.
        status: Final status; None: the server's status, FINISHED for a new or open run.
        adds_only: Send only scores and files to a run that exists.
        creates: Create a run that the server lacks; else it is entered in `Mirror.missing`.
    """

    key: str
    name: str
    params: Mapping[str, object] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    first_tags: Mapping[str, str] = field(default_factory=dict)
    parent: str | None = None
    points: tuple[Point, ...] = ()
    scores: Mapping[str, float] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    owned: tuple[str, ...] = ()
    started: int | None = None
    ended: int | None = None
    status: RunStatus | None = None
    adds_only: bool = False
    creates: bool = True


@dataclass(frozen=True)
class Projection:
    """The runs of a folder, parents before children.

    Attributes:
        runs: The runs.
        group: Tag of all runs, as name and value; None: runs are looked up by their keys.
        views: Shared views of the experiment's page by key (`themo.tracking.comparison`).
    """

    runs: tuple[Run, ...] = ()
    group: tuple[str, str] | None = None
    views: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def loggable(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the finite metrics by MLflow's names."""
    return {metric_name(name): float(v) for name, v in metrics.items() if math.isfinite(v)}


def batches(points: Sequence[Point]) -> Iterator[list[Point]]:
    """Yield reports in groups whose metrics fit into one call of MLflow."""
    batch: list[Point] = []
    n_metrics = 0
    for point in points:
        if batch and n_metrics + len(point.metrics) > _METRICS_A_BATCH:
            yield batch
            batch, n_metrics = [], 0
        batch.append(point)
        n_metrics += len(point.metrics)
    if batch:
        yield batch


def entry_batches(entries: list[T]) -> Iterator[list[T]]:
    """Yield parameters or tags in groups that fit into one call of MLflow."""
    for start in range(0, len(entries), _ENTRIES_A_BATCH):
        yield entries[start : start + _ENTRIES_A_BATCH]
