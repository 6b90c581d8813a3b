"""Approximate lists over an index of random vectors, built and searched by faiss."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from themo.errors import InputError
from themo.files.cache import digest, digest_file
from themo.image_search import approximate
from themo.image_search.approximate import ApproximateIndex, too_few_to_approximate
from themo.image_search.index import ImageIndex
from themo.image_search.lists import Lists
from themo.image_search.matches import Match
from themo.image_search.pictures import Stamp
from themo.image_search.pieces import MappedVectors, Piece

Capture = pytest.CaptureFixture[str]
Vectors = np.ndarray

E = 32
N = 4_000
PIECES = 8


def unit(vectors: Vectors) -> Vectors:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def vectors() -> Vectors:
    random = np.random.default_rng(0)
    centres = random.standard_normal((60, E))
    return unit(centres[random.integers(0, 60, N)] + 0.7 * random.standard_normal((N, E)))


@pytest.fixture(scope="module")
def texts() -> Vectors:
    return unit(np.random.default_rng(1).standard_normal((50, E)))


def open_index(home: Path, pieces: Sequence[Vectors], twin_of: Vectors | None = None) -> ImageIndex:
    """Write the pieces that are not there yet, and open them all."""
    home.mkdir(parents=True, exist_ok=True)
    opened = []
    for rows in pieces:
        path = home / f"{digest(rows.tolist())}.json"
        if not path.exists():
            stamps = [Stamp(f"{path.stem}-{i:05d}.jpg", 1, 1, 1) for i in range(len(rows))]
            Piece.write(path, [rows], stamps, {}, [np.zeros((len(rows), 4), np.uint64)])
        opened.append(Piece.read(path))
    pixels = np.concatenate([_pixels(rows) for rows in pieces])
    twin_of = np.arange(len(pixels)) if twin_of is None else twin_of
    return ImageIndex(
        names=tuple(stamp.name for piece in opened for stamp in piece.stamps),
        pieces=tuple(MappedVectors(piece.path.with_suffix(".npy")) for piece in opened),
        broken={},
        n_new=0,
        file_of=twin_of,
        twin_of=twin_of,
        pixels=pixels,
        home=home,
    )


def _pixels(rows: Vectors) -> Vectors:
    """Numbers in place of digests of pixels, equal for equal vectors."""
    return np.array([int(digest(row.tolist())[:16], 16) for row in rows], np.uint64)


@pytest.fixture
def index(tmp_path: Path, vectors: Vectors) -> ImageIndex:
    return open_index(tmp_path / "pictures-1", np.split(vectors, PIECES))


def lists_file(index: ImageIndex) -> Path:
    return index.home.with_name(f"{index.home.name}.approximate") / "lists.faiss"


def found(lists: ApproximateIndex, query: Vectors, n_best: int = 10) -> list[Match]:
    (matches,) = lists.part(query, n_best).search(query[None], n_best)
    return matches


def test_recall_is_measured_and_reached(index: ImageIndex, texts: Vectors) -> None:
    lists = ApproximateIndex.update(index, texts)
    assert lists.recall.share >= approximate.LEAST_RECALL
    assert lists.recall.n_texts == len(texts)
    exact = index.search(texts, 10)
    shares = [
        len({match.name for match in best} & {match.name for match in found(lists, text)}) / 10
        for text, best in zip(texts, exact, strict=True)
    ]
    assert np.mean(shares) == pytest.approx(lists.recall.share)


def test_fewer_lists_are_looked_through_than_there_are(
    index: ImageIndex, texts: Vectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = ApproximateIndex.update(index, texts)
    shutil.rmtree(lists_file(index).parent)
    monkeypatch.setattr(approximate, "LEAST_RECALL", 0.5)
    few = ApproximateIndex.update(index, texts)
    assert few.recall.n_probes < every.recall.n_probes <= 128  # twice the root of 4,000, as a power of 2
    assert 0.5 <= few.recall.share < every.recall.share


def test_scores_and_order_are_the_exact_ones(index: ImageIndex, texts: Vectors) -> None:
    lists = ApproximateIndex.update(index, texts)
    for text in texts[:10]:
        (ranking,) = index.search(text[None], N)
        scores = {match.name: match.score for match in ranking}
        matches = found(lists, text)
        assert [match.score for match in matches] == sorted((m.score for m in matches), reverse=True)
        for match in matches:
            assert match.score == pytest.approx(scores[match.name], abs=1e-6)


def test_copies_come_with_their_match(tmp_path: Path, vectors: Vectors, texts: Vectors) -> None:
    twin_of = np.arange(N)
    twin_of[2001::2] = 7  # a thousand copies of one picture
    copied = vectors[twin_of]
    index = open_index(tmp_path / "pictures-1", np.split(copied, PIECES), twin_of)
    lists = ApproximateIndex.update(index, texts)
    for query in (vectors[7], vectors[7] + 0.1 * texts[0]):
        (best,) = index.search(query[None], 1)
        matches = found(lists, query, 1)
        assert (matches[0].name, matches[0].copies) == (best[0].name, best[0].copies)
        assert len(matches[0].copies) == 1000


def test_a_second_opening_builds_nothing(index: ImageIndex, texts: Vectors) -> None:
    first = ApproximateIndex.update(index, texts)
    before = [(path, path.stat().st_mtime_ns) for path in sorted(lists_file(index).parent.iterdir())]
    second = ApproximateIndex.update(index, texts)
    assert second.recall == first.recall
    assert found(second, texts[0]) == found(first, texts[0])
    after = [(path, path.stat().st_mtime_ns) for path in sorted(lists_file(index).parent.iterdir())]
    assert after == before
    assert [path.name for path, _ in after] == ["about.json", "lists.faiss", "pixels.npy", "spread.npy"]


def test_texts_of_another_student_are_measured(index: ImageIndex, texts: Vectors) -> None:
    first = ApproximateIndex.update(index, texts)
    built = lists_file(index).stat().st_mtime_ns
    second = ApproximateIndex.update(index, texts[::-1][:20].copy())
    assert (first.recall.n_texts, second.recall.n_texts) == (50, 20)
    assert lists_file(index).stat().st_mtime_ns == built


def test_new_pictures_are_found_without_new_lists(
    index: ImageIndex, texts: Vectors, vectors: Vectors
) -> None:
    ApproximateIndex.update(index, texts)
    built = lists_file(index).stat().st_mtime_ns
    pieces = [unit(texts[:30] + 0.01), *np.split(vectors, PIECES)]
    grown = open_index(index.home, pieces)
    lists = ApproximateIndex.update(grown, texts)
    assert lists_file(index).stat().st_mtime_ns == built
    for text in texts[:30]:
        assert found(lists, text)[0].name == grown.search(text[None], 1)[0][0].name


def test_gone_pictures_are_not_found(index: ImageIndex, texts: Vectors, vectors: Vectors) -> None:
    small = [vectors[:100], vectors[100:]]
    ApproximateIndex.update(open_index(index.home, small), texts)
    built = lists_file(index).stat().st_mtime_ns
    rest = open_index(index.home, small[1:])
    lists = ApproximateIndex.update(rest, texts)
    assert lists_file(index).stat().st_mtime_ns == built
    for gone in vectors[:20]:
        assert found(lists, gone)[0].score < 0.999
        assert found(lists, gone)[0].name == rest.search(gone[None], 1)[0][0].name


def test_a_rewritten_piece_keeps_the_lists(index: ImageIndex, texts: Vectors, vectors: Vectors) -> None:
    """The deletion of one picture rewrites its piece, of up to 16,384 pictures."""
    ApproximateIndex.update(open_index(index.home, np.split(vectors, 2)), texts)
    built = lists_file(index).stat().st_mtime_ns
    first, second = np.split(vectors, 2)
    rest = open_index(index.home, [second, np.concatenate([np.delete(first, 7, axis=0), unit(texts[:1])])])
    lists = ApproximateIndex.update(rest, texts)
    assert lists_file(index).stat().st_mtime_ns == built
    assert found(lists, vectors[7])[0].score < 0.999
    for query in (vectors[8], vectors[3_000], texts[0]):
        assert found(lists, query)[0].name == rest.search(query[None], 1)[0][0].name
        assert found(lists, query)[0].score == pytest.approx(1)


def test_candidates_that_are_all_gone_are_none(index: ImageIndex, texts: Vectors, vectors: Vectors) -> None:
    beach = unit(texts[0] + 0.01 * np.random.default_rng(2).standard_normal((250, E)))
    pieces = np.split(vectors, PIECES)
    ApproximateIndex.update(open_index(index.home, [beach, *pieces]), texts)
    lists = ApproximateIndex.update(open_index(index.home, pieces), texts)
    assert found(lists, texts[0])[0].score < 0.99
    assert index.part(np.empty(0, np.intp)).search(texts[:1], 10) == [[]]


def test_many_changes_build_the_lists_again(index: ImageIndex, texts: Vectors, vectors: Vectors) -> None:
    ApproximateIndex.update(index, texts)
    pieces = np.split(vectors, PIECES)
    ApproximateIndex.update(open_index(index.home, pieces[2:]), texts)
    assert len(Lists.read(lists_file(index))) == N * (PIECES - 2) // PIECES


def test_lists_of_another_folder_are_built_again(
    index: ImageIndex, texts: Vectors, tmp_path: Path, vectors: Vectors
) -> None:
    other = open_index(tmp_path / "pictures-2", np.split(vectors[:, ::-1].copy(), PIECES))
    ApproximateIndex.update(other, texts)
    shutil.copytree(lists_file(other).parent, lists_file(index).parent)
    lists = ApproximateIndex.update(index, texts)
    assert lists_file(index).read_bytes() != lists_file(other).read_bytes()
    assert found(lists, vectors[5])[0].score == pytest.approx(1)


@pytest.mark.parametrize("name", ["lists.faiss", "spread.npy", "pixels.npy", "about.json"])
@pytest.mark.parametrize("harm", ["cut", "missing", "changed"])
def test_damaged_lists_are_said_and_built_again(
    index: ImageIndex, texts: Vectors, capsys: Capture, name: str, harm: str
) -> None:
    before = found(ApproximateIndex.update(index, texts), texts[0])
    path = lists_file(index).with_name(name)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content[:100] if harm == "cut" else content)
    if harm == "missing":
        path.unlink()
    lists = ApproximateIndex.update(index, texts)
    assert found(lists, texts[0]) == before
    said = f"{path.parent} is damaged or of another version; building it again\n"
    assert capsys.readouterr().err == said


def test_another_version_is_built_again(index: ImageIndex, texts: Vectors, capsys: Capture) -> None:
    ApproximateIndex.update(index, texts)
    about = lists_file(index).with_name("about.json")
    tree = json.loads(about.read_text())
    about.write_text(json.dumps(tree | {"form": 0}))
    ApproximateIndex.update(index, texts)
    assert "of another version" in capsys.readouterr().err
    assert json.loads(about.read_text()) == tree


def test_lists_that_this_faiss_cannot_read_are_built_again(
    index: ImageIndex, texts: Vectors, capsys: Capture
) -> None:
    ApproximateIndex.update(index, texts)
    path, about = lists_file(index), lists_file(index).with_name("about.json")
    tree, whole = json.loads(about.read_text()), path.read_bytes()
    path.write_bytes(b"Ixxx" + whole[4:])
    tree["files"]["lists.faiss"] = digest_file(path)
    about.write_text(json.dumps(tree))
    ApproximateIndex.update(index, texts)
    assert "of another version; building it again" in capsys.readouterr().err
    assert path.read_bytes()[:4] == whole[:4]


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from themo.image_search import approximate_folder
from themo.image_search.approximate import ApproximateIndex
from test_approximate import open_index

def die(folder):
    os.kill(os.getpid(), signal.SIGKILL)

approximate_folder._digests = die
data = np.load(sys.argv[2])
index = open_index(Path(sys.argv[1]), np.split(data["vectors"], int(sys.argv[3])))
ApproximateIndex.update(index, data["texts"])
"""


@pytest.mark.slow
def test_a_kill_between_writes_leaves_nothing_half(index: ImageIndex, texts: Vectors, tmp_path: Path) -> None:
    vectors = np.concatenate([piece.rows for piece in index.pieces])
    np.savez(tmp_path / "data.npz", vectors=vectors, texts=texts)
    arguments = [str(tmp_path / "new" / "pictures-1"), str(tmp_path / "data.npz"), str(PIECES)]
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED), *arguments], cwd=Path(__file__).parent, check=False
    )
    assert ended.returncode == -signal.SIGKILL
    left = sorted(path.name for path in (tmp_path / "new").iterdir() if path.is_dir())
    assert left == [".pictures-1.approximate.unfinished", "pictures-1"]
    again = open_index(tmp_path / "new" / "pictures-1", np.split(vectors, PIECES))
    lists = ApproximateIndex.update(again, texts)
    assert lists.recall.share >= approximate.LEAST_RECALL
    assert not lists_file(again).parent.with_name(left[0]).exists()


def test_deviations_are_those_over_all_pictures(index: ImageIndex, texts: Vectors) -> None:
    lists = ApproximateIndex.update(index, texts)
    np.testing.assert_allclose(lists.deviations(texts), index.scores(texts).std(axis=0), rtol=1e-4)


def test_many_wanted_matches_need_all_pictures(index: ImageIndex, texts: Vectors) -> None:
    lists = ApproximateIndex.update(index, texts)
    assert lists.holds(20)  # of 20 candidates each, a tenth of 4,000
    assert not lists.holds(21)


def test_a_small_folder_is_compared_whole() -> None:
    assert too_few_to_approximate(approximate.FEWEST_PICTURES, 250) is None
    assert "the folder has 49,999" in str(too_few_to_approximate(49_999, 10))


def test_a_full_cache_is_named(
    index: ImageIndex, texts: Vectors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Lists, path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Lists, "write", full)
    with pytest.raises(InputError, match=f"^cache_dir {tmp_path}: cannot write the index: No space left"):
        ApproximateIndex.update(index, texts)
    assert not lists_file(index).parent.exists()
