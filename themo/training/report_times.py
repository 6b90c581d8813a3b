"""When a run reports: often enough to stop early, where rungs lie, and never just before its end.

A search compares trials at rungs of sentence pairs, usually multiples of `report_pairs`. A report between
them does no harm, one that comes after a rung instead of at it does: so the interval is a whole part of
`report_pairs`.
"""

from __future__ import annotations

import math

FEWEST = 5
"""Reports of a run at least, as far as its steps allow: fewer choose no student and stop nothing early."""


def report_interval(total_pairs: float, report_pairs: int) -> float:
    """Sentence pairs between two reports: `report_pairs`, or the largest whole part that gives `FEWEST`.

    Args:
        total_pairs: Of the whole run, above 0.
        report_pairs: The setting, 1 or more.
    """
    return report_pairs / max(1, math.ceil(FEWEST * report_pairs / total_pairs))


def is_due(before: int, after: int, total_pairs: float, report_pairs: int) -> bool:
    """Whether a step passed a time to report; the end of the run, which always reports, is left out.

    The times are the multiples of `report_interval`. One less than half an interval before the end is left
    out as well: the last report replaces it.

    Args:
        before: Sentence pairs seen before the step.
        after: Sentence pairs seen after it.
        total_pairs: Of the whole run.
        report_pairs: The setting.
    """
    interval = report_interval(total_pairs, report_pairs)
    number = math.floor(after / interval)
    return number > math.floor(before / interval) and total_pairs - number * interval >= interval / 2


def last_reports_before_end(total_pairs: float, report_pairs: int) -> tuple[int, int]:
    """Sentence pairs of a run's last two reports before its end, in order; 0 for one that there is not.

    A run with larger steps reports at the first step that reaches these.

    Args:
        total_pairs: Of the whole run, above 0.
        report_pairs: The setting.
    """
    interval = report_interval(total_pairs, report_pairs)
    number = max(0, math.floor(total_pairs / interval - 0.5))
    return _first_pairs(number - 1, interval), _first_pairs(number, interval)


def _first_pairs(number: int, interval: float) -> int:
    """Return the smallest number of pairs that holds so many intervals, counted as `is_due` counts."""
    pairs = math.ceil(number * interval) - 1
    return max(0, next(n for n in range(pairs, pairs + 3) if math.floor(n / interval) >= number))
