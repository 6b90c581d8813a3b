"""Files of vectors read by row."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from themo.files.vectors import VectorFile


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_rows_are_those_of_the_array(tmp_path: Path, dtype: type) -> None:
    values = np.random.default_rng(0).normal(size=(50, 7)).astype(dtype)
    np.save(tmp_path / "v.npy", values)
    file = VectorFile(tmp_path / "v.npy")
    assert file.shape == (50, 7)

    @given(st.lists(st.integers(0, 49)))
    def check(rows: list[int]) -> None:
        got = file.rows(np.array(rows, dtype=np.int64))
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, values[rows].astype(np.float32).reshape(-1, 7))

    check()


@pytest.mark.parametrize("n_rows", [1, 7, 50, 1000])
def test_chunks_are_the_whole_array(tmp_path: Path, n_rows: int) -> None:
    values = np.arange(150, dtype=np.float32).reshape(50, 3)
    np.save(tmp_path / "v.npy", values)
    np.testing.assert_array_equal(np.concatenate(list(VectorFile(tmp_path / "v.npy").chunks(n_rows))), values)


def test_short_reads_give_the_whole_array(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.arange(60, dtype=np.float32).reshape(10, 6)
    np.save(tmp_path / "v.npy", values)
    read = os.preadv
    monkeypatch.setattr(os, "preadv", lambda file, views, offset: read(file, [views[0][:7]], offset))
    np.testing.assert_array_equal(next(VectorFile(tmp_path / "v.npy").chunks(10)), values)


def test_the_file_is_closed_with_its_last_reference(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.ones((5, 3), np.float32))
    file = VectorFile(tmp_path / "v.npy")
    descriptor = file._descriptor
    os.fstat(descriptor)
    del file
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_a_file_that_outlives_its_module_closes_silently(tmp_path: Path) -> None:
    """At the end of the interpreter, Python sets the globals of modules to None."""
    np.save(tmp_path / "v.npy", np.ones((5, 3), np.float32))
    script = (
        "import builtins, pathlib, themo.files.vectors as vectors\n"
        f"builtins.kept = vectors.VectorFile(pathlib.Path({str(tmp_path / 'v.npy')!r}))\n"
        "vectors.os = None\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_a_file_cut_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "v.npy"
    np.save(path, np.ones((50, 3), np.float32))
    file = VectorFile(path)
    with path.open("r+b") as handle:
        handle.truncate(path.stat().st_size - 12)
    with pytest.raises(OSError, match="ends before its last row"):
        file.rows(np.array([49]))


@pytest.mark.parametrize(
    "values", [np.ones(3, np.float32), np.ones((2, 2)), np.asfortranarray(np.ones((3, 2), np.float32))]
)
def test_other_arrays_are_refused(tmp_path: Path, values: np.ndarray) -> None:
    np.save(tmp_path / "v.npy", values)
    with pytest.raises(ValueError, match=r"must be \(N, D\) of float16 or float32, got"):
        VectorFile(tmp_path / "v.npy")


@pytest.mark.parametrize("n_rows", [0, 5])
def test_vectors_without_dimensions_are_refused(tmp_path: Path, n_rows: int) -> None:
    np.save(tmp_path / "v.npy", np.ones((n_rows, 0), np.float32))
    with pytest.raises(ValueError, match=rf"must be \(N, D\) with D of at least 1, got \({n_rows}, 0\)"):
        VectorFile(tmp_path / "v.npy")


def with_header(path: Path, header: bytes) -> None:
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(60))


@pytest.mark.parametrize("shape", [b"(5, (3)", b"(5, 3]", b"(5, True)", b"(5, %d)" % 10**30, b"(5, -3)"])
def test_a_damaged_header_is_refused_in_one_line(tmp_path: Path, shape: bytes) -> None:
    with_header(tmp_path / "v.npy", b"{'descr': '<f4', 'fortran_order': False, 'shape': %s, }\n" % shape)
    with pytest.raises(ValueError, match=r"^must be a \.npy array: [^\n]+$"):
        VectorFile(tmp_path / "v.npy")


@pytest.mark.parametrize("size", [9_999, 60_000])
def test_nested_brackets_as_header_are_refused_in_one_line(tmp_path: Path, size: int) -> None:
    with_header(tmp_path / "v.npy", b"[" * size + b"\n")
    with pytest.raises(ValueError, match=r"^must be a \.npy array: [^\n]+$"):
        VectorFile(tmp_path / "v.npy")


@given(st.integers(8, 127), st.integers(0, 255))
def test_a_header_with_any_wrong_byte_is_read_or_refused(place: int, byte: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "v.npy")
        np.save(path, np.ones((5, 3), np.float32))
        content = bytearray(path.read_bytes())
        content[place] = byte
        path.write_bytes(content)
        with contextlib.suppress(ValueError):
            VectorFile(path)
