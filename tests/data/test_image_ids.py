import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from themo.data.image_ids import NoImageIdError, image_ids, plain_id

numbers = st.integers(0, 10**12 - 1)
SPELLINGS = [
    "{}",
    "{}.0",
    "{}.",
    "{}.000",
    " {} ",
    "{:012d}",
    "{:012d}.jpg",
    "{:012d}.JPEG",
    "COCO_train2014_{:012d}.jpg",
    "COCO_val2014_{:012d}.png",
    "COCO_test2015_{:012d}",
    "train2014/COCO_train2014_{:012d}.jpg",
    "http://images.example/val2017/{:012d}.jpg",
    "{}e0",
    "{}.0E+00",
]


@given(st.lists(st.tuples(numbers, st.sampled_from(SPELLINGS)), max_size=20))
def test_ids_however_they_are_spelt(cells: list[tuple[int, str]]) -> None:
    column = pa.array([spelling.format(number) for number, spelling in cells], pa.large_string())
    assert image_ids(column).to_pylist() == [str(number) for number, _ in cells]


@given(st.lists(st.none() | st.integers(0, 2**53), max_size=20))
def test_columns_of_numbers(cells: list[int | None]) -> None:
    expected = [None if cell is None else str(cell) for cell in cells]
    floats = pa.array([None if cell is None else float(cell) for cell in cells], pa.float64())
    gaps = pa.array([float("nan") if cell is None else float(cell) for cell in cells], pa.float64())
    for column in (pa.array(cells, pa.int64()), floats, gaps):
        assert image_ids(column).to_pylist() == expected


def test_empty_cells_are_of_no_image() -> None:
    assert image_ids(pa.array(["", None, " ", "7"])).to_pylist() == [None, None, None, "7"]


NUMBERS = ["1.5", "-1", "1e-3", "1.55e1", "none", "nan", "inf", "0x1f", "1,000", "1_000", "12 13", "٤٢"]
NAMES = ["dog.jpg", "flickr_12.jpg", "12.gif", "12.jpg.txt", "COCO_12.jpg", "COCO_train2014_.jpg"]


@pytest.mark.parametrize("cell", NUMBERS + NAMES)
def test_other_cells_are_refused_with_their_row(cell: str) -> None:
    with pytest.raises(NoImageIdError, match=r"must contain image ids .*436508.*, got '") as caught:
        image_ids(pa.array(["1", "", cell, "2"]))
    assert caught.value.row == 2
    assert repr(cell) in str(caught.value)


def test_plain_ids() -> None:
    assert [plain_id(digits) for digits in ("000000436508", "7", "000")] == ["436508", "7", "0"]
