"""Batches of texts of nearly equal length: little padding, so less to compute."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence


def batches_by_length(
    lengths: Sequence[int], size: int, advance: Callable[[float], None] = lambda _: None
) -> Iterator[list[int]]:
    """Positions of N texts in batches, shortest texts first; equally long ones keep their order.

    A caller restores the order by writing results of a batch to the positions of the batch.

    Args:
        lengths: Lengths of the N texts, in any unit.
        size: Texts a batch; the last may have fewer.
        advance: Called with the number of texts of a batch when the next one is asked for.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    for start in range(0, len(order), size):
        chosen = order[start : start + size]
        yield chosen
        advance(len(chosen))
