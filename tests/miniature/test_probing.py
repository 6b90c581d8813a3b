from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from themo.miniature.lexicon import BACKGROUNDS
from themo.miniature.probing import KINDS, Reader, distinguished
from themo.miniature.scenes import World

WORLD = World(0)
N = 40


def background_seen(paths: Sequence[Path]) -> torch.Tensor:
    """One axis a background, identified by the corner's colour."""
    corners = [np.asarray(Image.open(path))[0, 0] for path in paths]
    table = np.array([background.rgb for background in BACKGROUNDS])
    return torch.eye(4)[[int(np.abs(table - corner).sum(axis=1).argmin()) for corner in corners]]


def background_read(words: dict[str, int]) -> Callable[[Sequence[str]], torch.Tensor]:
    def read(texts: Sequence[str]) -> torch.Tensor:
        found = [next((i for word, i in words.items() if word in text.lower()), None) for text in texts]
        return torch.stack([torch.eye(4)[i] if i is not None else torch.zeros(4) for i in found])

    return read


ENGLISH = {f"{w} background": i for i, b in enumerate(BACKGROUNDS) for w in b.english}
SPANISH = {f"fondo {w}": i for i, b in enumerate(BACKGROUNDS) for w in b.spanish}


@pytest.fixture(scope="module")
def told() -> dict[str, dict[str, np.ndarray]]:
    readers = {
        "student": Reader(background_read(SPANISH), "es"),
        "ceiling": Reader(background_read(ENGLISH), "en"),
        "deaf": Reader(lambda texts: torch.ones(len(texts), 4), "es"),
    }
    return dict(distinguished(WORLD, "test", readers, background_seen, N))


def test_backgrounds_alone_distinguish_only_backgrounds(
    told: dict[str, dict[str, np.ndarray]],
) -> None:
    assert tuple(told) == KINDS
    for name in ("student", "ceiling"):
        assert told["background"][name].all()
        assert not any(told[kind][name].any() for kind in KINDS if kind != "background")
    assert not any(of["deaf"].any() for of in told.values())


def test_only_scenes_that_have_a_twin_are_asked(told: dict[str, dict[str, np.ndarray]]) -> None:
    assert len(told["background"]["student"]) == N
    assert 0 < len(told["swapped colours"]["student"]) < N
    assert {len(of["student"]) for of in told.values()} == {len(of["ceiling"]) for of in told.values()}
