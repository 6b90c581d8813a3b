from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from themo.files.npy import NpyWriter


@given(st.lists(st.integers(0, 5), max_size=6), st.sampled_from(["<f2", "<f4", "<u2", "<i8"]), st.booleans())
def test_equals_numpys_own_file(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], dtype: str, wide: bool
) -> None:
    path = tmp_path_factory.mktemp("npy") / "a.npy"
    row = (3,) if wide else ()
    parts = [np.arange(n * (3 if wide else 1)).reshape(n, *row) for n in sizes]
    with NpyWriter(path, dtype, row) as file:
        for part in parts:
            file.append(part)
    whole = np.concatenate([np.empty((0, *row)), *parts]).astype(dtype)
    np.testing.assert_array_equal(np.load(path), whole)
    np.save(path.with_name("b.npy"), whole)
    assert path.read_bytes() == path.with_name("b.npy").read_bytes()


def test_rows_of_another_shape(tmp_path: Path) -> None:
    refused = pytest.raises(ValueError, match=r"rows must have the shape \(3,\), got \(2,\)")
    with refused, NpyWriter(tmp_path / "a.npy", "<f4", (3,)) as file:
        file.append(np.zeros((1, 2)))
    with pytest.raises(ValueError, match="pickled"):  # without its header it is no array
        np.load(tmp_path / "a.npy", allow_pickle=False)
