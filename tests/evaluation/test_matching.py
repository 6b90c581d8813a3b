import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from themo.errors import InputError
from themo.evaluation.matching import SAME_TARGET, MatchAt1

NAN = math.nan


def test_match_by_hand() -> None:
    teachers = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    students = torch.tensor([[5.0, 1.0], [1.0, 0.9], [-0.1, 0.0]])  # the second is nearer to the first
    matcher = MatchAt1(teachers, torch.tensor([0, 1, 2]))
    assert matcher.hits(students).tolist() == [True, False, True]
    assert matcher(students) == pytest.approx(2 / 3)


def test_match_takes_equal_english_sentences_as_one() -> None:
    # Pairs 0 and 2 have the same English sentence; own targets may yet differ there.
    teachers = torch.tensor([[1.0, 0.1], [0.0, 1.0], [1.0, 0.0]])
    students = torch.tensor([[1.0, -0.1], [0.0, 1.0], [1.0, 0.2]])
    assert MatchAt1(teachers, torch.tensor([7, 3, 7]))(students) == 1.0
    assert MatchAt1(teachers, torch.tensor([7, 3, 5]))(students) == pytest.approx(1 / 3)


def test_match_takes_sentences_with_equal_vectors_as_one() -> None:
    teachers = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], dtype=torch.float16)
    assert MatchAt1(teachers, torch.tensor([0, 1, 2]))(teachers) == 1.0


@pytest.mark.parametrize("max_scores", [1, 700, 10**9])
def test_match_merges_vectors_that_differ_by_rounding(max_scores: int) -> None:
    """A teacher reads two spellings of a sentence alike, in batches of different sizes."""
    generator = torch.Generator().manual_seed(0)
    single = torch.randn(50, 24, generator=generator).half()
    twins = single.clone()
    twins[torch.arange(50), torch.randint(24, (50,), generator=generator)] *= 1 + 2**-10
    assert not (single == twins).all(dim=1).any()
    matcher = MatchAt1(torch.cat([single, twins]), torch.arange(100))
    students = torch.cat([twins, single])  # each nearest to the other twin
    assert matcher.hits(students, max_scores).all()
    assert not matcher.hits(students.roll(1, dims=0), max_scores).any()
    close = single + 0.04 * torch.randn(50, 24, generator=generator)  # cosines of about 1 - 8e-4
    matcher = MatchAt1(torch.cat([single.float(), close]), torch.arange(100))
    assert not matcher.hits(torch.cat([close, single.float()]), max_scores).any()


def test_match_of_zero_vectors() -> None:
    """They have no direction in which to be found, and none is found in their stead."""
    teachers = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    matcher = MatchAt1(teachers, torch.arange(3))
    assert matcher.hits(torch.tensor([[-1.0, -1.0], [0.0, 2.0], [0.0, 0.0]])).tolist() == [True, True, False]


def test_match_of_a_collapsed_or_broken_student_is_no_success() -> None:
    matcher = MatchAt1(torch.eye(4), torch.arange(4))
    assert matcher(torch.ones(4, 4)) == 0.0
    assert matcher(torch.zeros(4, 4)) == 0.0
    assert matcher(torch.full((4, 4), NAN)) == 0.0


def test_match_refuses_targets_on_which_every_student_is_right() -> None:
    with pytest.raises(InputError, match="at least 2 different vectors, got 1 in 3 pairs"):
        MatchAt1(torch.ones(3, 2) + 1e-3 * torch.eye(3, 2), torch.arange(3))
    with pytest.raises(InputError, match="must be finite"):
        MatchAt1(torch.tensor([[1.0, NAN], [0.0, 1.0]]), torch.arange(2))
    with pytest.raises(ValueError, match=r"need ids \(N,\), got \(3, 3\) and \(2,\)"):
        MatchAt1(torch.eye(3), torch.arange(2))


@settings(max_examples=30)
@given(st.integers(2, 30), st.integers(1, 6), st.integers(0, 2**31))
def test_match_equals_the_definition(n: int, n_sentences: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.cat([torch.tensor([0, 1]), torch.randint(max(2, n_sentences), (n - 2,), generator=generator)])
    teachers = torch.randn(max(2, n_sentences), 3, generator=generator)[ids]
    students = torch.randn(n, 3, generator=generator)
    nearest = torch.nn.functional.cosine_similarity(students[:, None], teachers[None], dim=-1).argmax(dim=1)
    to_right = torch.nn.functional.cosine_similarity(teachers[nearest], teachers, dim=-1)
    expected = (to_right > SAME_TARGET).float().mean().item()
    assert MatchAt1(teachers, ids)(students) == pytest.approx(expected)
