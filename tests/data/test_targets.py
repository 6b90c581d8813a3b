from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import write_tsv

from themo.data import targets
from themo.data.bitext import Bitext, Plan, open_bitexts
from themo.data.cleaning import Rules
from themo.data.corpora import Corpus
from themo.data.targets import own_vectors, teacher_vectors
from themo.errors import InputError
from themo.files.cache import Cache
from themo.models.teacher import Teacher

TEXTS = ("the red cat runs", "the old owl sings", "the new dog falls")


@pytest.fixture
def bitext(tmp_path: Path) -> Callable[..., Bitext]:
    """`bitext(texts)`: with these English texts."""

    def write(texts: tuple[str, ...] = TEXTS) -> Bitext:
        corpus = Corpus("own", (write_tsv(tmp_path / "own.tsv", [(en, en) for en in texts]),))
        folder = tmp_path / "-".join(texts)
        folder.mkdir()
        apart = Corpus("apart", (write_tsv(tmp_path / "apart.tsv", [("apart", "aparte")]),))
        Plan([corpus], Rules(None, False), apart, 2, None, frozenset()).build(folder)
        return open_bitexts(folder)[0]

    return write


def test_teacher_vectors_are_the_teachers(
    tmp_path: Path, tiny_teacher: Path, bitext: Callable[..., Bitext]
) -> None:
    english = bitext()
    teacher = Teacher.load(str(tiny_teacher))
    for target, width in (("state", 16), ("embedding", 12)):
        path = teacher_vectors(Cache(tmp_path), "key", target, english, load=lambda: teacher)  # type: ignore[arg-type]
        vectors = np.load(path, mmap_mode="r")
        assert vectors.shape == (3, width)
        assert vectors.dtype == np.float16
        expected = teacher.encode_texts(TEXTS, target)  # type: ignore[arg-type]
        np.testing.assert_allclose(vectors, expected, rtol=2**-10, atol=1e-6)


def test_computed_once_for_a_teacher_a_target_and_texts(
    tmp_path: Path, tiny_teacher: Path, bitext: Callable[..., Bitext]
) -> None:
    same = bitext()
    loads = []

    def load() -> Teacher:
        loads.append(1)
        return Teacher.load(str(tiny_teacher))

    def compute(key: str = "key", target: Any = "state", texts: Bitext = same) -> Path:
        return teacher_vectors(Cache(tmp_path), key, target, texts, load)

    paths = {compute(), compute()}
    assert (len(loads), len(paths)) == (1, 1)
    paths |= {compute(key="other"), compute(target="embedding"), compute(texts=bitext(TEXTS[1:]))}
    assert (len(loads), len(paths)) == (4, 4)


def test_vectors_beyond_half_precision_are_refused(
    tmp_path: Path, tiny_teacher: Path, bitext: Callable[..., Bitext]
) -> None:
    teacher = Teacher.load(str(tiny_teacher))
    teacher.model.text_projection.data *= 1e6
    with (
        pytest.warns(RuntimeWarning, match="overflow"),
        pytest.raises(InputError, match=r"teacher: all values must be finite, vectors \d .* is not"),
    ):
        teacher_vectors(Cache(tmp_path), "key", "embedding", bitext(), load=lambda: teacher)
    assert not list(tmp_path.glob("targets-*"))


def test_own_vectors_are_taken_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "own.npy"
    for dtype in (np.float16, np.float32):
        np.save(path, np.ones((5, 3), dtype=dtype))
        assert own_vectors(path, 5) == path


def with_nan(path: Path) -> None:
    vectors = np.ones((5, 3), dtype=np.float32)
    vectors[3, 1] = np.nan
    np.save(path, vectors)


def with_infinity_far_down(path: Path) -> None:
    vectors = np.ones((5, 3), dtype=np.float16)
    vectors[4, 2] = np.inf
    np.save(path, vectors)


def truncated(path: Path) -> None:
    np.save(path, np.ones((5, 3), dtype=np.float32))
    path.write_bytes(path.read_bytes()[:-8])


def pickled(path: Path) -> None:
    np.save(path, np.array([[None]], dtype=object), allow_pickle=True)


def zipped(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, vectors=np.ones((5, 3), dtype=np.float32))


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (
            lambda path: np.save(path, np.ones((4, 3), dtype=np.float32)),
            "must have a row for each of the corpus's 5 rows, got 4",
        ),
        (
            lambda path: np.save(path, np.ones((6, 3), dtype=np.float32)),
            "must have a row for each of the corpus's 5 rows, got 6",
        ),
        (
            lambda path: np.save(path, np.ones((5, 3))),
            "must be (N, D) of float16 or float32, got (5, 3) of float64",
        ),
        (
            lambda path: np.save(path, np.ones(5, dtype=np.float32)),
            "must be (N, D) of float16 or float32, got (5,) of float32",
        ),
        (with_nan, "all values must be finite, rows 3 (counted from 0) is not"),
        (with_infinity_far_down, "all values must be finite, rows 4 (counted from 0) is not"),
        (truncated, "must be a .npy array: "),
        (pickled, "must be a .npy array: "),
        (zipped, "must be a .npy array"),
        (lambda path: path.write_bytes(b""), "must be a .npy array: "),
        (lambda path: path.write_text("0.1 0.2", encoding="utf-8"), "must be a .npy array: "),
        (
            lambda path: np.save(path, np.ones((5, 0), dtype=np.float32)),
            "must be (N, D) with D of at least 1, got (5, 0)",
        ),
        (
            lambda path: path.write_bytes(b"\x93NUMPY\x01\x00\x03\x00{(\n"),
            "must be a .npy array: its header is damaged (TokenError)",
        ),
        (lambda path: path.unlink(missing_ok=True), "no such file"),
    ],
)
def test_own_vectors_refused(tmp_path: Path, write: Callable[[Path], object], message: str) -> None:
    path = tmp_path / "own.npy"
    write(path)
    with pytest.raises(InputError) as caught:
        own_vectors(path, 5)
    assert str(caught.value).startswith(f"targets {path}: {message}")
    assert len(str(caught.value).splitlines()) == 1


def test_a_bad_row_beyond_the_first_chunk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "_ROWS_A_CHUNK", 2)
    with_nan(tmp_path / "own.npy")
    with pytest.raises(InputError, match=r"rows 3 \(counted from 0\) is not"):
        own_vectors(tmp_path / "own.npy", 5)
