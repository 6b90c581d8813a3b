"""Facts of a task that searches need before they start."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.searches.replay import Oracle


@dataclass(frozen=True)
class Facts:
    """Facts that a user knows of a task before a search.

    Attributes:
        whole: Sentence pairs of a full training.
        n_reports: Reports of a full training. Peers count reports, as their documentation counts epochs.
        slots: Number of simultaneous trainings.
    """

    whole: int
    n_reports: int
    slots: int = 1

    @classmethod
    def of(cls, oracle: Oracle, slots: int = 1) -> Facts:
        """The facts of the table behind an oracle."""
        return cls(oracle.whole, max(len(curve.pairs) for curve in oracle.firsts), slots)
