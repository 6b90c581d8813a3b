"""Speed of a training between two reports, and its time without validation and saving."""

from __future__ import annotations

import time

from themo.checkpoints.resumption import Progress


class Pace:
    """Stopwatch of the training steps, stopped while a run validates and saves.

    Args:
        progress: Progress of the new or resumed run.

    Attributes:
        seconds: Training time up to the last report, of earlier sessions too.
    """

    def __init__(self, progress: Progress) -> None:
        last = progress.reports[-1] if progress.reports else {}
        self.seconds = last.get("training_seconds", progress.seconds)  # older versions measured only these
        self.restart(progress.pairs_seen)

    def restart(self, pairs_seen: int) -> None:
        """Start at a number of sentence pairs."""
        self._pairs, self._since = pairs_seen, time.monotonic()

    def measure(self, pairs_seen: int) -> float:
        """Add the time since the start to `seconds`; return the pairs per second."""
        elapsed = time.monotonic() - self._since
        self.seconds += elapsed
        return (pairs_seen - self._pairs) / elapsed
