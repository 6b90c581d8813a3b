"""Sums of texts and pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from themo.errors import InputError
from themo.image_search.pieces import Vectors
from themo.image_search.query import Query
from themo.image_search.query_terms import Terms, open_pictures


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def terms(vectors: np.ndarray, *signs: int) -> Terms:
    return Terms(vectors.astype(np.float32), np.array(signs, np.float32))


def of_scores(scores: np.ndarray) -> Callable[[Vectors], Vectors]:
    return lambda _: scores.astype(np.float32).std(axis=0)


def never(vectors_KE: Vectors) -> Vectors:
    raise AssertionError("one term needs no deviations")


def test_one_term_is_the_sum() -> None:
    assert terms(np.eye(3)[:1], 1).sum(never).tolist() == [1, 0, 0]


def test_terms_weigh_by_the_spread_of_their_scores() -> None:
    random = np.random.default_rng(0)
    vectors, pictures = unit(random.standard_normal((3, 8))), unit(random.standard_normal((50, 8)))
    pictures = unit(pictures + 3 * vectors[0] * random.standard_normal((50, 1)))
    scores = pictures @ vectors.T
    vector = terms(vectors, 1, 1, -1).sum(of_scores(scores))
    standard = (scores - scores.mean(axis=0)) / scores.std(axis=0)
    expected = standard @ [1, 1, -1]
    assert np.array_equal(np.argsort(pictures @ vector), np.argsort(expected))
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


def test_equal_pictures_leave_the_terms_as_they_are() -> None:
    vector = terms(np.eye(2), 1, -1).sum(of_scores(np.array([[0.6, 0.8]] * 3)))
    np.testing.assert_allclose(vector, [np.sqrt(0.5), -np.sqrt(0.5)], atol=1e-6)


def test_terms_that_cancel_out_are_refused() -> None:
    scores = np.array([[0.6, 0.6], [0.1, 0.1]])
    with pytest.raises(InputError, match="the added and subtracted texts and pictures cancel out"):
        terms(np.eye(2)[[0, 0]], 1, -1).sum(of_scores(scores))


def test_a_file_that_is_no_picture_names_its_option(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("no picture")
    with pytest.raises(InputError, match=r"^--like .*a\.jpg: must be an image"):
        open_pictures([tmp_path / "a.jpg"], "--like")
    with pytest.raises(InputError, match=r"^--unlike .*none\.jpg: cannot read the image: No such file"):
        open_pictures([tmp_path / "none.jpg"], "--unlike")


def test_pictures_of_queries_are_turned_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (20, 10))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    assert open_pictures([tmp_path / "a.jpg"], "--like")[0].size == (10, 20)


@pytest.mark.parametrize(
    ("query", "title", "is_one_text"),
    [
        (Query(("un perro",)), "un perro", True),
        (Query(("un perro", "de noche")), "un perro + de noche", False),
        (Query(("un perro",), minus=("gente",)), "un perro − gente", False),
        (Query(like=(Path("a/b.jpg"),), unlike=(Path("c.jpg"),)), "b.jpg − c.jpg", False),
    ],
)
def test_a_query_has_a_title(query: Query, title: str, is_one_text: bool) -> None:
    assert query.title == title
    assert query.is_one_text == is_one_text
