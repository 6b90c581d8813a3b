"""Codes of an index's pieces on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from themo.image_search.codes import RoundedQuery
from themo.image_search.codes_folder import CodedPiece, update_codes
from themo.image_search.pictures import Stamp
from themo.image_search.pieces import Piece


@pytest.fixture
def pieces(tmp_path: Path) -> list[Piece]:
    home = tmp_path / "pictures-1"
    home.mkdir()
    random = np.random.default_rng(0)
    written = []
    for number in range(3):
        rows = random.standard_normal((4, 6)).astype(np.float32)
        stamps = [Stamp(f"{number}-{i}.jpg", 1, 1, 1) for i in range(4)]
        digests = np.zeros((4, 4), np.uint64)
        written.append(Piece.write(home / f"{number:06d}.json", [rows], stamps, {}, [digests]))
    return written


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "pictures-1.codes"


def contents(codes: tuple[CodedPiece, ...]) -> list[list[float]]:
    query = RoundedQuery.of(np.ones(6, np.float32))
    return [np.concatenate(piece.bounds(query)).tolist() for piece in codes]


def stamps(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_codes_are_written_once(pieces: list[Piece], folder: Path) -> None:
    first = contents(update_codes(folder.with_suffix(""), pieces))
    before = stamps(folder)
    assert contents(update_codes(folder.with_suffix(""), pieces)) == first
    assert stamps(folder) == before
    assert len(before) == 2 * len(pieces)


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def change(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("suffix", [".npy", ".json"])
@pytest.mark.parametrize("damage", [Path.unlink, shorten, change])
def test_damaged_codes_are_made_again(
    pieces: list[Piece], folder: Path, suffix: str, damage: Callable[[Path], None]
) -> None:
    first = contents(update_codes(folder.with_suffix(""), pieces))
    before = stamps(folder)
    damaged = folder / f"{pieces[1].sha256}{suffix}"
    damage(damaged)
    assert contents(update_codes(folder.with_suffix(""), pieces)) == first
    changed = {name for name, time in stamps(folder).items() if time != before[name]}
    assert {Path(name).stem for name in changed} == {pieces[1].sha256}
    assert contents(update_codes(folder.with_suffix(""), pieces)) == first


def test_codes_of_vanished_pieces_are_removed(pieces: list[Piece], folder: Path) -> None:
    update_codes(folder.with_suffix(""), pieces)
    kept = update_codes(folder.with_suffix(""), pieces[:1])
    assert len(kept) == 1
    assert {path.stem for path in folder.iterdir()} == {pieces[0].sha256}
