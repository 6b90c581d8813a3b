"""Classes with equal prompts, which no text encoder distinguishes: they are scored as one class.

Prompts are compared, not vectors: an encoder that gives different prompts the same vector fails, since ties
count against it. The comparison ignores case, Unicode form and white space.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from themo.data.imagenet import ImageNet


class EqualPrompts(NamedTuple):
    """Classes with equal prompts in a language."""

    prompt: str
    """The first prompt of the first class."""
    synsets: tuple[str, ...]
    n_images: int
    """Number of images of all these classes."""

    def to_dict(self) -> dict[str, Any]:
        """Return the entry of ``test.json``."""
        return {"prompt": self.prompt, "synsets": list(self.synsets), "images": self.n_images}


def first_equal(prompts: Sequence[Sequence[str]]) -> list[int]:
    """Return for each of C classes the first class with equal prompts, 0 to C - 1.

    A class is the mean of its prompts: their order is irrelevant, their shares are not.
    """
    first: dict[frozenset[tuple[str, Fraction]], int] = {}
    return [first.setdefault(_meaning(of_class), number) for number, of_class in enumerate(prompts)]


def equal_prompts(imagenet: ImageNet, language: str) -> tuple[EqualPrompts, ...]:
    """Return the classes with equal prompts in a language, in the order of their first class."""
    prompts = imagenet.prompts[language]
    classes: dict[int, list[int]] = {}
    for number, first in enumerate(first_equal(prompts)):
        classes.setdefault(first, []).append(number)
    n_images = Counter(imagenet.class_of_image)
    return tuple(
        EqualPrompts(
            prompts[first][0],
            tuple(imagenet.synsets[number] for number in equal),
            sum(n_images[number] for number in equal),
        )
        for first, equal in classes.items()
        if len(equal) > 1
    )


def _meaning(prompts: Sequence[str]) -> frozenset[tuple[str, Fraction]]:
    counts = Counter(map(_as_read, prompts))
    return frozenset((prompt, Fraction(n, len(prompts))) for prompt, n in counts.items())


def _as_read(prompt: str) -> str:
    folded = unicodedata.normalize("NFKC", prompt).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())
