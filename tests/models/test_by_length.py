from hypothesis import given
from hypothesis import strategies as st

from themo.models.by_length import batches_by_length


@given(st.lists(st.integers(0, 9)), st.integers(1, 5))
def test_batches_hold_each_text_once_shortest_first(lengths: list[int], size: int) -> None:
    advances: list[float] = []
    batches = list(batches_by_length(lengths, size, advances.append))
    order = [i for batch in batches for i in batch]
    assert order == sorted(range(len(lengths)), key=lambda i: (lengths[i], i))
    assert all(len(batch) == size for batch in batches[:-1])
    assert advances == [len(batch) for batch in batches]
