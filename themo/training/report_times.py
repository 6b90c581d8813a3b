"""Times of a run's reports: at rungs, often enough to stop early, and never just before the end.

A search compares trials at rungs of sentence pairs, usually multiples of `report_pairs`. A report between
rungs is harmless; one after a rung instead of at it is not. The interval therefore divides `report_pairs`.
"""

from __future__ import annotations

import math

FEWEST = 5
"""Minimum number of reports of a run with as many steps, to choose the best student and stop early."""


def report_interval(total_pairs: float, report_pairs: int) -> float:
    """Return the sentence pairs between two reports.

    It is `report_pairs`, or the largest integer fraction of it that gives `FEWEST` reports.

    Args:
        total_pairs: Sentence pairs of the whole run, above 0.
        report_pairs: The setting, 1 or more.
    """
    return report_pairs / max(1, math.ceil(FEWEST * report_pairs / total_pairs))


def is_due(before: int, after: int, total_pairs: float, report_pairs: int) -> bool:
    """Whether a step passed a time to report; the final report is not counted.

    The times are the multiples of `report_interval`. A time less than half an interval before the end is left
    out: the final report replaces it.

    Args:
        before: Sentence pairs seen before the step.
        after: Sentence pairs seen after it.
        total_pairs: Sentence pairs of the whole run.
        report_pairs: The setting.
    """
    interval = report_interval(total_pairs, report_pairs)
    number = math.floor(after / interval)
    return number > math.floor(before / interval) and total_pairs - number * interval >= interval / 2


def last_reports_before_end(total_pairs: float, report_pairs: int) -> tuple[int, int]:
    """Sentence pairs of a run's last two reports before the final one, in order; 0 for a missing one.

    A run with larger steps reports at the first step that reaches these.

    Args:
        total_pairs: Sentence pairs of the whole run, above 0.
        report_pairs: The setting.
    """
    interval = report_interval(total_pairs, report_pairs)
    number = max(0, math.floor(total_pairs / interval - 0.5))
    return _first_pairs(number - 1, interval), _first_pairs(number, interval)


def _first_pairs(number: int, interval: float) -> int:
    """Return the fewest pairs that contain `number` intervals, counted as in `is_due`."""
    pairs = math.ceil(number * interval) - 1
    return max(0, next(n for n in range(pairs, pairs + 3) if math.floor(n / interval) >= number))
