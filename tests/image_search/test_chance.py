"""Chances by reference texts: numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from themo.image_search.chance import (
    FEWEST_PICTURES,
    FEWEST_REFERENCES,
    Calibration,
    too_few_pictures,
    too_few_references,
)
from themo.image_search.references import References

AXES = np.eye(4, dtype=np.float32)


def calibration(scale: float = 2.0) -> Calibration:
    """Two reference texts on axes of their own; queries and pictures have two more."""
    return Calibration.of(References(AXES[:2], scale))


def test_the_chance_is_the_softmax_over_references() -> None:
    pictures = np.stack([AXES[2], AXES[0], (AXES[2] + AXES[0]) / math.sqrt(2)])
    found = calibration().chances(AXES[2], pictures)
    e = math.exp
    s = math.sqrt(2)  # 2 times a cosine of 1 / sqrt(2)
    assert found == pytest.approx([e(2) / (e(2) + 2), 1 / (1 + e(2) + 1), e(s) / (e(s) + e(s) + 1)], rel=1e-6)


def test_references_of_the_same_meaning_do_not_compete() -> None:
    similar = np.array([[0.6, 0.8, 0, 0]], np.float32)
    of = Calibration.of(References(np.concatenate([AXES[:2], similar]), 2.0))
    assert of.same_meaning == pytest.approx(0.8)
    query = np.array([0.98, 0, 0.19899748, 0], np.float32)  # nearer to the first reference than 0.8
    (chance,) = of.chances(query, AXES[:1])
    own, second, third = math.exp(2 * 0.98), math.exp(0), math.exp(2 * 0.6)
    assert chance == pytest.approx(own / (own + second + third), rel=1e-5)


def test_equal_references_count_once() -> None:
    """Two classes of a file of prompts may have equal texts, whose vectors differ by rounding."""
    random = np.random.default_rng(0)
    references_RE = random.standard_normal((40, 16)).astype(np.float32)
    references_RE /= np.linalg.norm(references_RE, axis=1, keepdims=True)
    again = np.float32(1 + 1e-7) * references_RE[30:31]
    query, pictures = references_RE[3], references_RE[:10]
    expected = Calibration.of(References(references_RE, 20.0))
    found = Calibration.of(References(np.concatenate([references_RE, again]), 20.0))
    assert found.same_meaning == expected.same_meaning
    assert found.chances(query, pictures) == pytest.approx(expected.chances(query, pictures), rel=1e-5)


def test_a_text_near_all_references_keeps_three_quarters() -> None:
    general, *subjects = np.eye(9, dtype=np.float32)
    leaning = np.array([2.0, 2.1, 2.2, 2.3, 2.4, 2.5, 2.6, 2.7], np.float32)[:, None] * general + subjects
    references_RE = leaning / np.linalg.norm(leaning, axis=1, keepdims=True)
    of = Calibration.of(References(references_RE, 2.0))
    assert (references_RE @ general > of.same_meaning).all()
    cosines = [
        math.cos(math.atan(1 / lean)) for lean in (2.0, 2.1, 2.2, 2.3, 2.4, 2.5)
    ]  # without the nearest 2
    (chance,) = of.chances(general, general[None])
    assert chance == pytest.approx(
        math.exp(2) / (math.exp(2) + sum(math.exp(2 * c) for c in cosines)), rel=1e-5
    )
    (unlike,) = of.chances(general, -general[None])  # less like the text than like any reference
    assert unlike < 1 / 7


def test_a_great_scale_stays_finite() -> None:
    found = calibration(scale=1e4).chances(AXES[2], AXES[[0, 2]])
    assert found == pytest.approx([0, 1])
    assert np.isfinite(found).all()


def test_a_small_folder_has_no_chances_and_says_why() -> None:
    assert too_few_pictures(FEWEST_PICTURES) is None
    reason = too_few_pictures(FEWEST_PICTURES - 1)
    assert reason == "the folder must contain at least 20 different pictures, but has 19"


def test_too_few_known_references_say_why() -> None:
    enough = np.zeros((FEWEST_REFERENCES, 4), np.float32)
    assert too_few_references(References(enough, 1.0)) is None
    reason = too_few_references(References(enough[1:], 1.0))
    assert reason == "the student must know the words of 40 reference texts, but knows 39"


def test_equal_references_are_no_more_than_one() -> None:
    equal = np.tile(AXES[:1], (FEWEST_REFERENCES, 1))
    reason = too_few_references(Calibration.of(References(equal, 1.0)).references)
    assert reason == "the student must know the words of 40 reference texts, but knows 1"
