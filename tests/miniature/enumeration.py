"""Every sentence that a rule with choices can say, one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from themo.miniature.grammar import Pick

T = TypeVar("T")


def everything(say: Callable[[Pick], str]) -> Iterator[str]:
    """Yield what `say` returns under every sequence of choices, repeated options counted once."""
    path: list[int] = []
    while True:
        sides: list[int] = []

        def pick(options: Sequence[T], /, sides: list[int] = sides) -> T:
            distinct = list(dict.fromkeys(options))
            position = len(sides)
            sides.append(len(distinct))
            if position == len(path):
                path.append(0)
            return distinct[path[position]]

        yield say(pick)
        while path and path[-1] == sides[len(path) - 1] - 1:
            path.pop()
        if not path:
            return
        path[-1] += 1
