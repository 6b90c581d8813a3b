"""The index of a folder of pictures, over the tiny teacher and pictures of noise."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import time
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image
from tiny import write_picture

from themo.errors import InputError
from themo.files import locks
from themo.image_search import building
from themo.image_search import index as index_module
from themo.image_search.index import ImageIndex
from themo.image_search.left_out import LeftOut
from themo.image_search.pictures import find_pictures
from themo.image_search.pieces import MappedVectors
from themo.models import images
from themo.models.teacher import Teacher

N = 23


@pytest.fixture(scope="module")
def teacher(tiny_teacher: Path) -> Teacher:
    return Teacher.load(str(tiny_teacher))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for i in range(N):
        write_picture(tmp_path / "pictures" / f"{i:02d}.jpg", random)
    return tmp_path / "pictures"


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """A piece a batch, a batch of four."""
    monkeypatch.setattr(building, "SECONDS_BETWEEN_PIECES", 0.0)
    monkeypatch.setitem(building.BATCH, "cpu", 4)


Update = Callable[..., ImageIndex]


@pytest.fixture
def update(tmp_path: Path, folder: Path, teacher: Teacher) -> Update:
    def bring_up_to_date(load: Callable[[], Any] = lambda: teacher, key: str = "tiny") -> ImageIndex:
        found = find_pictures(folder, lambda _: None)
        return ImageIndex.update(tmp_path / "cache", folder, found, key, load)

    return bring_up_to_date


def test_a_picture_stored_on_its_side_is_looked_at_upright(
    folder: Path, update: Update, teacher: Teacher
) -> None:
    with Image.open(folder / "00.jpg") as stored:
        upright = stored.convert("RGB")
    upright.save(folder / "upright.png")
    exif = upright.getexif()
    exif[0x0112] = 6  # its top is at the right: a telephone held upright
    upright.transpose(Image.Transpose.ROTATE_90).save(folder / "telephone.png", exif=exif)
    found = vectors_by_name(update())
    assert np.allclose(found["telephone.png"], found["upright.png"], atol=1e-5)
    (sideways,) = teacher.encode_images([folder / "telephone.png"]).numpy()
    assert not np.allclose(found["telephone.png"], sideways, atol=1e-2)


def never() -> Teacher:
    raise AssertionError("there is nothing new")


def pieces(tmp_path: Path) -> list[Path]:
    """The pieces of the index, without the codes in ``pictures-<digest>.codes``."""
    return sorted((tmp_path / "cache").glob("pictures-*[!s]/*.json"))


def vectors_by_name(index: ImageIndex) -> dict[str, Any]:
    return dict(zip(index.names, np.concatenate([piece.rows for piece in index.pieces]), strict=True))


def assert_is_of(index: ImageIndex, folder: Path, teacher: Teacher) -> None:
    """The index holds every picture of the folder once, as it is now."""
    paths = sorted(path for path in folder.iterdir() if path.name not in index.broken)
    found = vectors_by_name(index)
    assert sorted(index.names) == [path.name for path in paths]
    expected = teacher.encode_images(paths).numpy()
    np.testing.assert_allclose([found[path.name] for path in paths], expected, atol=1e-6)


@pytest.mark.parametrize("n_best", [1, 5, N, 100])
def test_the_ranking_is_that_of_all_cosines(
    update: Update, small_pieces: None, folder: Path, teacher: Teacher, n_best: int
) -> None:
    index = update()
    assert len(index.pieces) == 6
    queries = np.random.default_rng(1).standard_normal((3, 12)).astype(np.float32)
    names = sorted(path.name for path in folder.iterdir())
    scores = queries @ teacher.encode_images([folder / name for name in names]).numpy().T
    for query, expected in zip(index.search(queries, n_best), scores, strict=True):
        order = np.argsort(-expected)[:n_best]
        assert [match.name for match in query] == [names[i] for i in order]
        np.testing.assert_allclose([match.score for match in query], expected[order], atol=1e-5)


def test_copies_of_the_same_bytes_are_one_match(update: Update, folder: Path, small_pieces: None) -> None:
    for i in range(40):  # more than are wanted, in several batches
        (folder / f"copy{i:02d}.jpg").write_bytes((folder / "03.jpg").read_bytes())
    (folder / "nearly.jpg").write_bytes((folder / "03.jpg").read_bytes() + b"x")
    index = update()
    query = vectors_by_name(index)["03.jpg"][None]
    (matches,) = index.search(query, 3)
    assert [match.name for match in matches[:2]] == ["03.jpg", "nearly.jpg"]
    assert matches[0].copies == tuple(f"copy{i:02d}.jpg" for i in range(40))
    assert [match.copies for match in matches[1:]] == [(), ()]
    assert matches[0].score == matches[1].score == pytest.approx(1.0, abs=1e-5)
    (everything,) = index.search(query, 100)
    assert len(everything) == N + 1
    assert sum(len(match.copies) for match in everything) == 40


def test_of_equal_pictures_the_first_by_name_comes_first(
    update: Update, folder: Path, small_pieces: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Image.open(folder / "03.jpg") as image:
        for i, name in enumerate(("z.png", "03.png", "a.png", "c.png", "b.png")):
            image.save(folder / name, dpi=(i + 1, 9))  # other bytes, the same pixels
    encode = Teacher.encode_pixels
    noise = np.random.default_rng(0)

    def by_batch(teacher: Teacher, pixels: torch.Tensor) -> torch.Tensor:
        # of one picture, other batches give vectors that differ so
        return encode(teacher, pixels) + noise.uniform(-1e-7, 1e-7)

    monkeypatch.setattr(Teacher, "encode_pixels", by_batch)
    index = update()
    query = vectors_by_name(index)["03.jpg"][None]
    (matches,) = index.search(query, 6)
    names = ["03.jpg", "03.png", "a.png", "b.png", "c.png", "z.png"]
    assert [match.name for match in matches] == names
    assert len({match.score for match in matches}) == 1


def test_nothing_new_needs_no_teacher(update: Update, folder: Path, teacher: Teacher) -> None:
    assert update().n_new == N
    index = update(load=never)
    assert index.n_new == 0
    assert_is_of(index, folder, teacher)
    assert update(key="another").n_new == N


def test_changed_added_and_removed_pictures_are_noticed(
    update: Update, small_pieces: None, folder: Path, teacher: Teacher
) -> None:
    update()
    random = np.random.default_rng(9)
    write_picture(folder / "05.jpg", random)
    os.utime(folder / "05.jpg", ns=(1, 1))  # its time alone tells: pictures of noise are of a size
    write_picture(folder / "new.jpg", random)
    (folder / "11.jpg").unlink()
    (folder / "12.jpg").rename(folder / "renamed.jpg")
    index = update()
    assert index.n_new == 3
    assert_is_of(index, folder, teacher)
    assert_is_of(update(load=never), folder, teacher)


def update_with(cache: Path, folder: Path, teacher: Teacher, *exclude: str) -> ImageIndex:
    found = find_pictures(folder, lambda _: None, LeftOut(exclude))
    return ImageIndex.update(cache, folder, found, "tiny", lambda: teacher)


def test_excluded_pictures_keep_their_vectors(
    update: Update, small_pieces: None, folder: Path, teacher: Teacher, tmp_path: Path
) -> None:
    (folder / "07.jpg").write_bytes(b"none")
    before = vectors_by_name(update())
    for _ in range(2):
        for pattern in ("0*", "*5.jpg"):
            part = update_with(tmp_path / "cache", folder, teacher, pattern)
            assert part.n_new == 0
            assert set(part.names) == {name for name in before if not fnmatch(name, pattern)}
    index = update(load=never)
    assert (index.n_new, list(index.broken)) == (0, ["07.jpg"])
    found = vectors_by_name(index)
    assert set(found) == set(before)
    assert all((found[name] == before[name]).all() for name in before)
    assert_is_of(index, folder, teacher)


@pytest.mark.parametrize("pattern", ["0*", "03.jpg"], ids=["some deleted", "all deleted"])
def test_deleted_excluded_pictures_are_forgotten(
    update: Update, folder: Path, teacher: Teacher, tmp_path: Path, pattern: str
) -> None:
    update()
    update_with(tmp_path / "cache", folder, teacher, pattern)
    (folder / "03.jpg").unlink()
    os.utime(folder / "04.jpg", ns=(1, 1))
    index = update()
    assert index.n_new == 1
    assert_is_of(index, folder, teacher)
    assert list((tmp_path / "cache").glob("pictures-*.excluded/*")) == []


def test_pictures_that_change_places_are_noticed(
    update: Update, folder: Path, teacher: Teacher, tmp_path: Path
) -> None:
    random = np.random.default_rng(9)
    aside = [tmp_path / "aside" / name for name in ("one.jpg", "two.jpg")]
    for path in aside:
        write_picture(path, random)
    paths = [*sorted(folder.iterdir()), *aside]
    longest = max(path.stat().st_size for path in paths)
    for path in paths:  # of one size and time, as an archive may set them
        path.write_bytes(path.read_bytes().ljust(longest, b"\0"))
        os.utime(path, ns=(1, 1))
        time.sleep(0.02)  # longer than the step in which the system counts time
    (folder / "link.jpg").symlink_to(aside[0])
    assert update().n_new == N + 1
    for name, now in (("05.jpg", "moving"), ("11.jpg", "05.jpg"), ("moving", "11.jpg")):
        (folder / name).rename(folder / now)
    (folder / "link.jpg").unlink()
    (folder / "link.jpg").symlink_to(aside[1])
    shutil.copy2(folder / "02.jpg", folder / "03.jpg")
    index = update()
    assert index.n_new == 4
    assert_is_of(index, folder, teacher)


def test_an_index_of_the_version_before_is_made_again(
    update: Update, folder: Path, teacher: Teacher, tmp_path: Path, capsys: Any
) -> None:
    (folder / "07.jpg").write_bytes(b"none")
    update()
    (path,) = pieces(tmp_path)
    tree = json.loads(path.read_text(encoding="utf-8"))
    tree["pictures"] = [row[:3] for row in tree["pictures"]]
    tree["broken"] = [[row[:3], reason] for row, reason in tree["broken"]]
    path.write_text(json.dumps(tree), encoding="utf-8")
    capsys.readouterr()
    index = update()
    assert index.n_new == N
    assert f"{path} is damaged or of an older version; encoding its pictures" in capsys.readouterr().err
    assert_is_of(index, folder, teacher)
    assert update(load=never).n_new == 0


def test_an_emptied_folder(update: Update, folder: Path, tmp_path: Path) -> None:
    update()
    for path in folder.iterdir():
        path.unlink()
    index = update(load=never)
    assert (index.names, index.search(np.ones((2, 12), np.float32), 3)) == ((), [[], []])
    assert pieces(tmp_path) == []


def test_broken_pictures_are_reported_and_not_retried(update: Update, folder: Path, teacher: Teacher) -> None:
    whole = (folder / "07.jpg").read_bytes()
    (folder / "07.jpg").write_bytes(whole[:200])
    (folder / "08.jpg").write_text("<html>404</html>", encoding="utf-8")
    index = update()
    assert list(index.broken) == ["07.jpg", "08.jpg"]
    assert "08.jpg: must be an image" in index.broken["08.jpg"]
    assert_is_of(index, folder, teacher)
    again = update(load=never)
    assert (again.broken, again.n_new) == (index.broken, 0)
    (folder / "07.jpg").write_bytes(whole)
    (folder / "08.jpg").unlink()
    mended = update()
    assert (mended.broken, mended.n_new) == ({}, 1)
    assert_is_of(mended, folder, teacher)


def test_unreadable_pictures_are_named_and_retried(
    update: Update, folder: Path, teacher: Teacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_file = Path.open

    def closed(path: Path, *options: Any, **more: Any) -> Any:  # root may read all
        if path.name == "07.jpg":
            raise PermissionError(13, "Permission denied", str(path))
        return open_file(path, *options, **more)

    monkeypatch.setattr(Path, "open", closed)
    for _ in range(2):
        index = update()
        assert list(index.broken) == ["07.jpg"]
        assert index.broken["07.jpg"].endswith("07.jpg: cannot read the image: Permission denied")
        assert len(index.names) == N - 1
    monkeypatch.undo()
    mended = update()
    assert (mended.broken, mended.n_new) == ({}, 1)
    assert_is_of(mended, folder, teacher)


def test_all_broken(update: Update, folder: Path) -> None:
    for path in folder.iterdir():
        path.write_bytes(b"")
    index = update()
    assert (index.names, len(index.broken)) == ((), N)
    assert len(update(load=never).broken) == N


class Interrupts:
    """A teacher whose work is interrupted at the n-th picture."""

    def __init__(self, teacher: Teacher, at: int) -> None:
        self._teacher = teacher
        self._left = at

    def transform(self, image: Any) -> Any:
        self._left -= 1
        if self._left < 0:
            raise KeyboardInterrupt
        return self._teacher.transform(image)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._teacher, name)


@pytest.mark.parametrize("seconds", [0.0, 1e6])
def test_an_interruption_loses_only_the_batch_in_work(
    update: Update, small_pieces: None, folder: Path, teacher: Teacher, monkeypatch: Any, seconds: float
) -> None:
    monkeypatch.setattr(building, "SECONDS_BETWEEN_PIECES", seconds)
    monkeypatch.setattr(images, "PROBED", 4)
    with pytest.raises(KeyboardInterrupt):
        update(load=lambda: Interrupts(teacher, 14))
    index = update()
    assert index.n_new == N - 12
    assert_is_of(index, folder, teacher)


def test_files_of_a_killed_run_are_no_pieces(
    update: Update, small_pieces: None, folder: Path, teacher: Teacher, tmp_path: Path
) -> None:
    update()
    last = pieces(tmp_path)[-1]
    last.unlink()  # it is written last: vectors without it are half a piece
    (last.parent / ".000009.json.1.tmp").touch()
    index = update()
    assert index.n_new == N % 4
    assert_is_of(index, folder, teacher)
    assert {path.suffix for path in last.parent.iterdir()} == {".json", ".npy"}


def test_a_rewrite_that_was_killed_leaves_none_twice(
    update: Update, small_pieces: None, folder: Path, teacher: Teacher, tmp_path: Path
) -> None:
    """New pieces are written before old ones go."""
    update()
    first = pieces(tmp_path)[0]
    for path in (first, first.with_suffix(".npy")):
        (path.parent / f"000099{path.suffix}").write_bytes(path.read_bytes())
    index = update(load=never)
    assert_is_of(index, folder, teacher)
    assert len(index.names) == N


DAMAGE: dict[str, Callable[[Path], object]] = {
    "vectors": lambda path: path.with_suffix(".npy").write_bytes(b"\x93NUMPY"),
    "no vectors": lambda path: path.with_suffix(".npy").unlink(),
    "half a description": lambda path: path.write_text('{"pictures": [', encoding="utf-8"),
    "another description": lambda path: path.write_text("[]", encoding="utf-8"),
    "no digest": lambda path: path.write_text(
        json.dumps({"pictures": [["00.jpg", 1, 2]], "broken": []}), encoding="utf-8"
    ),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_piece_is_made_again(
    update: Update, small_pieces: None, folder: Path, teacher: Teacher, tmp_path: Path, capsys: Any, case: str
) -> None:
    update()
    DAMAGE[case](pieces(tmp_path)[2])
    index = update()
    assert index.n_new == 4
    assert "000002.json is damaged or of an older version; encoding its pictures" in capsys.readouterr().err
    assert_is_of(index, folder, teacher)


def test_many_small_pieces_become_one(
    update: Update, small_pieces: None, folder: Path, teacher: Teacher, monkeypatch: Any, tmp_path: Path
) -> None:
    monkeypatch.setattr(building, "MOST_SMALL", 3)
    index = update()
    assert len(index.pieces) <= 4
    assert_is_of(index, folder, teacher)
    monkeypatch.setattr(building, "PIECE_ROWS", 10)  # of 4 rows: small; of 8: not
    monkeypatch.setattr(building, "MOST_SMALL", 0)
    index = update(key="another")
    assert [len(piece.rows) for piece in index.pieces] == [8, 8, 7]
    assert_is_of(index, folder, teacher)


def test_an_open_index_survives_a_rewrite_by_another_process(
    update: Update, folder: Path, tmp_path: Path
) -> None:
    index = update()
    before = index.search(np.ones((1, 12), np.float32), 3)
    for path in pieces(tmp_path):
        path.unlink()
        path.with_suffix(".npy").unlink()
    assert index.search(np.ones((1, 12), np.float32), 3) == before


def test_mapped_vectors_give_their_pages_back(tmp_path: Path) -> None:
    np.save(tmp_path / "vectors.npy", np.ones((20_000, 256), np.float32))
    vectors = MappedVectors(tmp_path / "vectors.npy")
    assert vectors.rows.sum() == 20_000 * 256
    full = resident_bytes()
    vectors.release()
    assert full - resident_bytes() > 0.9 * vectors.rows.nbytes
    assert vectors.rows.sum() == 20_000 * 256


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_another_process_at_the_same_pictures_is_reported(
    update: Update, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update()
    (home,) = (tmp_path / "cache").glob("pictures-*[!s]")
    other = FileLock(home.with_name(f".{home.name}.lock"))
    other.acquire()
    told = []

    def let_go(text: str) -> None:
        told.append(text)
        other.release()

    monkeypatch.setattr(locks, "SECONDS_OF_SILENCE", 0.0)
    monkeypatch.setattr(locks.console, "print", let_go)
    assert update(load=never).n_new == 0
    assert told == [f"--images {folder}: another process is indexing it; waiting"]


def test_a_cache_that_cannot_be_written(update: Update, tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    with pytest.raises(InputError, match=r"cache_dir .*cache: cannot write the index: "):
        update()


@pytest.mark.parametrize("has_codes", [False, True])
def test_a_whole_index_in_a_read_only_cache_is_searched(
    update: Update, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_codes: bool
) -> None:
    """As on a read-only file system; root's permissions are not limited."""
    before = update()
    if not has_codes:
        for codes in (tmp_path / "cache").glob("pictures-*.codes"):
            shutil.rmtree(codes)

    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(index_module, "alone", refuse)
    again = update(load=never)
    assert (again.names, again.n_new) == (before.names, 0)
    queries = before.vectors([0, 3])
    best = [[[match.name for match in row] for row in index.search(queries, 5)] for index in (before, again)]
    assert best[0] == best[1]
    write_picture(folder / "new.jpg", np.random.default_rng(9))
    with pytest.raises(InputError, match="cannot write the index: Read-only file system"):
        update(load=never)
    (folder / "new.jpg").unlink()
    (folder / "00.jpg").unlink()
    with pytest.raises(InputError, match="cannot write the index: Read-only file system"):
        update(load=never)


def test_a_file_in_place_of_the_index_is_named(update: Update, tmp_path: Path) -> None:
    update()
    (home,) = (tmp_path / "cache").glob("pictures-*[!s]")
    shutil.rmtree(home)
    home.touch()
    with pytest.raises(InputError, match=rf": File exists \({re.escape(str(home))}\)$"):
        update()


def test_vectors_of_rows_come_from_all_pieces(update: Update, small_pieces: None) -> None:
    index = update()
    assert len(index.pieces) == 6
    rows = [22, 0, 3, 4, 11, 4]
    found = vectors_by_name(index)
    assert (index.vectors(rows) == np.stack([found[index.names[row]] for row in rows])).all()


def test_a_large_jpeg_is_decoded_at_a_part_of_its_size(
    update: Update, folder: Path, teacher: Teacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "00.jpg").unlink()
    with Image.open(folder / "01.jpg") as small:
        small.convert("RGB").resize((1200, 900), Image.Resampling.BICUBIC).save(
            folder / "large.jpg", quality=95
        )
    sizes = {}
    convert = images.upright

    def upright(image: Image.Image) -> Image.Image:
        sizes[image.size] = True
        return convert(image)

    monkeypatch.setattr(images, "upright", upright)
    found = vectors_by_name(update())
    assert (1200, 900) not in sizes
    assert (150, 113) in sizes  # an eighth, more than twice the teacher's pixels
    whole = teacher.encode_images([folder / "large.jpg"]).numpy()[0]
    assert float(found["large.jpg"] @ whole) > 0.999
