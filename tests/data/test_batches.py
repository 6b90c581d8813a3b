import json
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from themo.data.batches import assemble, plan_epoch, plan_steps, token_counts
from themo.data.dataset import EncodedPairs

PAD, SUFFIX = 7, 2


def encoded(folder: Path, sentences: list[list[int]], dimension: int = 3) -> EncodedPairs:
    """Pairs with given token ids; the target of pair i is [i, i, i] in reversed order of rows."""
    n = len(sentences)
    np.save(folder / "ids.npy", np.array([i for s in sentences for i in s], dtype=np.uint16))
    np.save(folder / "offsets.npy", np.cumsum([0, *map(len, sentences)]))
    np.save(folder / "rows.npy", np.arange(n)[::-1].copy())
    np.save(folder / "english.npy", np.arange(n))
    np.save(folder / "vectors.npy", np.repeat(np.arange(n)[::-1, None], dimension, axis=1).astype(np.float16))
    (folder / "layout.json").write_text(json.dumps({"pad": PAD, "suffix": SUFFIX}), encoding="utf-8")
    return EncodedPairs(folder, folder / "vectors.npy")


lengths_of_corpora = st.lists(st.integers(1, 90), min_size=1, max_size=200).map(
    lambda lengths: np.array(lengths, dtype=np.uint16)
)


@given(lengths_of_corpora, st.integers(1, 40), st.integers(0, 2**31), st.integers(0, 5))
def test_an_epoch_holds_every_pair_once_with_bounded_padding(
    lengths: np.ndarray, batch_size: int, seed: int, epoch: int
) -> None:
    plan = plan_epoch(lengths, batch_size, seed, epoch)
    assert sorted(np.concatenate(plan).tolist()) == list(range(len(lengths)))
    assert len(plan) == -(-len(lengths) // batch_size)
    assert sorted(map(len, plan), reverse=True)[:-1] == [batch_size] * (len(plan) - 1)
    padding = sum(int(lengths[b].max()) * len(b) - int(lengths[b].sum()) for b in plan)
    assert padding <= batch_size * (int(lengths.max()) - int(lengths.min()))
    by_length = sorted((int(lengths[b].min()), int(lengths[b].max())) for b in plan)
    assert all(longest <= shortest for (_, longest), (shortest, _) in pairwise(by_length))


@given(lengths_of_corpora, st.integers(1, 40), st.integers(0, 2**31), st.integers(0, 5))
def test_the_order_is_repeatable(lengths: np.ndarray, batch_size: int, seed: int, epoch: int) -> None:
    first, second = (plan_epoch(lengths, batch_size, seed, epoch) for _ in range(2))
    assert [b.tolist() for b in first] == [b.tolist() for b in second]


weighted_corpora = st.lists(
    st.tuples(st.integers(0, 40), st.floats(0.1, 3).map(lambda w: round(w, 2))), min_size=1, max_size=4
).filter(lambda parts: sum(round(n * weight) for n, weight in parts) > 0)


@given(weighted_corpora, st.integers(1, 40), st.integers(0, 2**31))
def test_weights_say_how_often_a_pair_is_seen(
    parts: list[tuple[int, float]], batch_size: int, seed: int
) -> None:
    lengths = np.full(sum(n for n, _ in parts), 7, dtype=np.uint16)
    counts = np.bincount(
        np.concatenate(plan_epoch(lengths, batch_size, seed, 0, parts)), minlength=len(lengths)
    )
    start = 0
    for n, weight in parts:
        own = counts[start : start + n]
        start += n
        assert own.sum() == round(n * weight)
        assert n == 0 or own.max() - own.min() <= 1


def test_half_of_a_corpus_is_another_half_in_every_epoch() -> None:
    lengths = np.full(200, 7, dtype=np.uint16)
    halves = [set(np.concatenate(plan_epoch(lengths, 16, 0, e, [(200, 0.5)])).tolist()) for e in range(8)]
    assert len({frozenset(half) for half in halves}) == 8
    assert len(set.union(*halves)) > 190


def test_weights_hold_in_every_epoch() -> None:
    lengths = np.full(20, 7, dtype=np.uint16)
    epochs = plan_steps(lengths, 25, 0, 0, 3, parts=[(10, 2.0), (10, 0.5)])  # 25 pairs each
    assert [np.bincount(batch, minlength=20)[:10].tolist() for batch in epochs] == [[2] * 10] * 3


def test_epochs_and_seeds_differ_in_batches_and_their_order() -> None:
    lengths = np.repeat(np.arange(5, 15, dtype=np.uint16), 20)
    plans = [plan_epoch(lengths, 16, seed, epoch) for seed, epoch in [(0, 0), (0, 1), (1, 0)]]
    contents = [{frozenset(b.tolist()) for b in plan} for plan in plans]
    assert len({frozenset(content) for content in contents}) == 3
    # long and short batches are mixed: not one run from the shortest to the longest
    widths = [int(lengths[b].max()) for b in plans[0]]
    assert widths != sorted(widths)


@given(
    st.lists(st.lists(st.integers(100, 999), min_size=3, max_size=12), min_size=1, max_size=20),
    st.integers(3, 14),
    st.randoms(use_true_random=False),
)
def test_assemble(sentences: list[list[int]], max_length: int, random: object) -> None:
    with TemporaryDirectory() as folder:
        pairs = encoded(Path(folder), sentences)
        chosen = np.random.default_rng(0).permutation(len(sentences))[: max(1, len(sentences) // 2)]
        batch = assemble(pairs, chosen, max_length)
        counts = token_counts(pairs, max_length)[chosen]
        assert batch.ids.shape == (len(chosen), counts.max())
        assert batch.ids.dtype == torch.int64
        assert batch.targets.dtype == torch.float32
        # rows are reversed, and so are the vectors: pair i finds [i, i, i]
        assert batch.targets[:, 0].tolist() == chosen.tolist()
        for i, ids, count in zip(chosen, batch.ids.tolist(), counts, strict=True):
            full = sentences[i]
            kept = full if len(full) <= max_length else full[: max_length - SUFFIX] + full[-SUFFIX:]
            assert ids == kept + [PAD] * (len(ids) - len(kept))
            assert count == len(kept)
        if batch.mask is None:
            assert len(set(counts.tolist())) == 1
        else:
            assert batch.mask.sum(dim=1).tolist() == counts.tolist()
            assert batch.mask[:, 0].all()
            assert (batch.mask.int().diff(dim=1) <= 0).all()  # True first, then False


def test_the_last_sentence_is_not_read_past_its_end(tmp_path: Path) -> None:
    pairs = encoded(tmp_path, [[1, 2, 3, 4, 5, 6], [8, 9, 10]])
    batch = assemble(pairs, np.array([0, 1]), 4)
    assert batch.ids.tolist() == [[1, 2, 5, 6], [8, 9, 10, PAD]]


def test_to_the_same_device_is_free(tmp_path: Path) -> None:
    batch = assemble(encoded(tmp_path, [[1, 2, 3]]), np.array([0]), 5)
    assert batch.to(torch.device("cpu")) is batch
