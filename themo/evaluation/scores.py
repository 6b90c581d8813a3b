"""Scores of encoders on test sets: ranks of all queries, their statistics, and the table of ``test``.

Shape suffix: Q queries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from rich import box
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from themo.evaluation.both_directions import SetScores, table_of_sets
from themo.evaluation.equal_prompts import EqualPrompts
from themo.evaluation.intervals import (
    Difference,
    Interval,
    lead_above_zero,
    paired_difference,
    wilson_interval,
)
from themo.evaluation.metrics import hits_of_ranks, share
from themo.evaluation.score_names import (
    ACCURACY,
    CEILING,
    KS,
    RETRIEVAL,
    STUDENT,
    TEST_SETS,
    metric_name,
)

N_FOUND = 10
"""Number of first items stored per query."""
N_NAMED = 3
"""Number of classes with equal prompts that the table names per language; the rest is counted."""


@dataclass(frozen=True)
class Scores:
    """Ranks of every query, and their statistics."""

    ranks: Mapping[str, Mapping[str, torch.Tensor]]
    """Task ("retrieval", "accuracy") to row to (Q,) int64 ranks of the right answers, 0 the best."""
    first: Mapping[str, Mapping[str, torch.Tensor]] = field(default_factory=dict)
    """Task to row to (Q, at most `N_FOUND`) int64: the images or classes found first, the best first.

    Classes with equal prompts are found under the number of the first of them.
    """
    equal_prompts: Mapping[str, tuple[EqualPrompts, ...]] = field(default_factory=dict)
    """Language to its classes with equal prompts; no entry for a language without any."""
    sets: Mapping[str, SetScores] = field(default_factory=dict)
    """Key of each set that was scored in both directions to its scores."""

    def hits(self, row: str, task: str, k: int) -> torch.Tensor:
        """Return (Q,) bool, whether the right answer of each query is among the row's first k."""
        return hits_of_ranks(self.ranks[task][row], k)

    def share(self, row: str, task: str, k: int) -> float:
        """Return recall@k or accuracy@k."""
        return share(self.hits(row, task, k))

    def interval(self, row: str, task: str, k: int) -> Interval:
        """Return the 95 % Wilson interval of `share`, over the choice of test queries."""
        hits = self.hits(row, task, k)
        return wilson_interval(int(hits.sum()), hits.numel())

    def difference(self, first: str, second: str, task: str, k: int) -> Difference:
        """Compare two rows on the same queries: `share` of the first minus that of the second."""
        return paired_difference(self.hits(first, task, k), self.hits(second, task, k))

    def lead_above_zero(self, first: str, second: str, task: str, k: int) -> float | None:
        """Return the least `difference` whose interval lies above 0; None for too few queries."""
        return lead_above_zero(self.hits(first, task, k), self.hits(second, task, k))

    @property
    def rows(self) -> tuple[str, ...]:
        """Names of the rows, in the order given to `evaluate`."""
        return tuple(next(iter(self.ranks.values()), ())) or tuple(next(iter(self.sets.values())).rows)

    @property
    def n(self) -> dict[str, int]:
        """Queries of each task: captions for retrieval, images for accuracy."""
        return {task: next(iter(of_row.values())).numel() for task, of_row in self.ranks.items()}

    @property
    def baselines(self) -> tuple[str, ...]:
        """Rows that the student is compared with; none without a student."""
        return tuple(r for r in self.rows if r not in (STUDENT, CEILING)) if STUDENT in self.rows else ()

    @property
    def retention(self) -> float | None:
        """R@1 of the student over that of the ceiling; None without either, or with a ceiling of 0."""
        if not {STUDENT, CEILING} <= set(self.ranks.get(RETRIEVAL, ())):
            return None
        ceiling = self.share(CEILING, RETRIEVAL, 1)
        return self.share(STUDENT, RETRIEVAL, 1) / ceiling if ceiling else None

    def to_dict(self) -> dict[str, Any]:
        """Return the contents of ``test.json``.

        Returns:
            One dictionary per row, ``{"retrieval@01": share, ..., "accuracy@10": share}``; "n" with the
            queries of each task; "ci95" with ``[low, high]`` per row and metric; "retention" if it exists;
            "differences" with ``[student - row, low, high]`` per baseline and metric, by `difference`;
            "leads_above_0" with the least such lead whose interval lies above 0, or null;
            "equal_prompts" with the classes scored as one, by language, if there are any; "test_sets" with
            `SetScores.to_dict` of each set, if there are any.
        """

        def by_metric(rows: Iterable[str], value: Callable[[str, str, int], object]) -> dict[str, Any]:
            return {
                row: {metric_name(task, k): value(row, task, k) for task in self.ranks for k in KS}
                for row in rows
            }

        result = by_metric(self.rows, self.share) | {"n": self.n}
        result["ci95"] = by_metric(self.rows, lambda *cell: list(self.interval(*cell)))
        if self.retention is not None:
            result["retention"] = self.retention
        if self.baselines:
            result["differences"] = by_metric(
                self.baselines, lambda *cell: list(self.difference(STUDENT, *cell))
            )
            result["leads_above_0"] = by_metric(self.baselines, partial(self.lead_above_zero, STUDENT))
        if self.equal_prompts:
            result["equal_prompts"] = {
                language: [classes.to_dict() for classes in of_language]
                for language, of_language in self.equal_prompts.items()
            }
        if self.sets:
            result[TEST_SETS] = {key: of_set.to_dict() for key, of_set in self.sets.items()}
        return result

    def to_tables(self) -> Group:
        """Return the tables that `test` prints: of the tasks, and of the sets scored in both directions."""
        tables = [self._table()] if self.ranks else []
        return Group(*tables, *([table_of_sets(self.sets)] if self.sets else []))

    def _table(self) -> Table:
        """Return the table of tasks by rows, @01 @05 @10 each with its 95 % interval."""
        caption = "\n".join(self._below_table())
        table = Table(box=box.SIMPLE_HEAD, caption=caption, caption_justify="left", pad_edge=False)
        table.add_column("", overflow="fold")
        for k in KS:
            table.add_column(f"@{k:02d}")  # in a narrow terminal the interval is below the share
        for task, unit_name in ((RETRIEVAL, "captions"), (ACCURACY, "images")):
            if task not in self.ranks:
                continue
            table.add_row(f"[bold]{task.capitalize()}[/]", f"[dim]{self.n[task]:,} {unit_name}[/]")
            for row in self.rows:
                table.add_row(f"  {escape(row)}", *(self._cell(row, task, k) for k in KS))
        return table

    def _below_table(self) -> Iterator[str]:
        """Yield lines that fit the table's width."""
        kept = self.retention
        yield "ranges: 95 % intervals" + (
            "" if kept is None else f"; retention {kept:.3f} (student / ceiling, R@1)"
        )
        for row in self.baselines:
            for task in self.ranks:
                gain, low, high = self.difference(STUDENT, row, task, 1)
                yield (
                    f"student - {escape(row)}, {metric_name(task, 1)}: {gain:+.3f}, {low:+.3f} to {high:+.3f}"
                )
                needed = self.lead_above_zero(STUDENT, row, task, 1)
                yield (
                    f"  smallest significant lead: {needed:+.3f}"
                    if needed is not None
                    else f"  {self.n[task]} queries are too few for a significant lead"
                )
        for language, of_language in self.equal_prompts.items():
            n_images = sum(classes.n_images for classes in of_language)
            yield f"equal prompts ({language}), scored as one class: {n_images:,} images"
            for prompt, synsets, _ in of_language[:N_NAMED]:
                yield f"  {escape(prompt)}: {', '.join(synsets)}"
            if len(of_language) > N_NAMED:
                yield f"  and {len(of_language) - N_NAMED:,} more; `test --json` lists them"

    def _cell(self, row: str, task: str, k: int) -> str:
        low, high = self.interval(row, task, k)
        return f"{self.share(row, task, k):.3f} [dim]{low:.3f}–{high:.3f}[/]"
