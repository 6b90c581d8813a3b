"""The benchmarks' own arithmetic and refusals; what they measure is measured by ``make bench``."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.measure import Comparison, Goal, Options, Row, compare
from benchmarks.synthetic import words, write_backbone, write_corpus
from themo.bitext import Plan, open_bitexts
from themo.cleaning import Rules
from themo.corpora import Corpus
from themo.tokens import Tokenizer


def test_ratio_is_the_median_over_rounds_and_not_the_ratio_of_medians() -> None:
    comparison = Comparison(ours=[10.0, 40.0, 90.0], theirs=[5.0, 10.0, 10.0])
    row = comparison.row("rate", goal=4.0, unit="pairs")
    assert row.figure == 4.0  # of 2, 4 and 9
    assert row.spread == (2.0, 9.0)
    assert row.is_met is True
    assert row.detail == "40 against 10 pairs/s"


@pytest.mark.parametrize(
    ("goal", "figure", "met"),
    [
        (Goal(3.0), 3.0, True),
        (Goal(3.0), 2.99, False),
        (Goal(1.5, "<"), 1.5, False),
        (Goal(1.5, "<"), 1.4, True),
        (Goal(1.5, "<"), math.nan, False),
        (None, 1.0, None),
    ],
)
def test_goal(goal: Goal | None, figure: float, met: bool | None) -> None:
    assert Row("what", figure, "x", goal).is_met is met


def test_skipped_row_misses_no_goal_and_is_json() -> None:
    row = Row("what", None, "x", Goal(3.0), detail="skipped: why", machine="m", commit="c")
    assert json.loads(row.to_json())["is_met"] is None


def test_variants_alternate_after_a_warm_up() -> None:
    calls: list[str] = []

    def note(label: str) -> float:
        calls.append(label)
        return 1.0

    compare("x", ours=lambda n: note(f"a{n}"), theirs=lambda n: note(f"b{n}"), rounds=2)
    assert calls == ["b-1", "a-1", "a0", "b0", "b1", "a1"]


def test_unknown_benchmark_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["speed"]) == 2
    assert capsys.readouterr().err.startswith("Error: no such benchmark: speed; there are startup,")


def test_real_data_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert Options().refuse_real_data() == (
        "skipped: give --tatoeba and --beto, or set THEMO_BENCH_TATOEBA and THEMO_BENCH_BETO"
    )
    refusal = Options(tatoeba=tmp_path, beto=tmp_path).refuse_real_data()
    assert refusal is not None
    assert str(tmp_path / "spa.txt") in refusal


def test_synthetic_corpus_has_no_duplicates_and_no_unknown_words(tmp_path: Path) -> None:
    write_corpus(tmp_path / "pairs.tsv", 300, seed=0)
    write_backbone(tmp_path, hidden_size=64, layers=1)
    corpus = Corpus("synthetic", (tmp_path / "pairs.tsv",))
    (tmp_path / "built").mkdir()
    Plan([corpus], Rules(3.0, True), corpus, 300, None, frozenset()).build(tmp_path / "built")
    pairs, _, drops = open_bitexts(tmp_path / "built")
    assert (len(pairs), drops[0].dropped) == (300, {})
    tokenizer = Tokenizer.load(str(tmp_path))
    ids, _ = tokenizer.encode([text for chunk in pairs.spanish() for text in chunk.to_pylist()])
    assert tokenizer.inner.unk_token_id not in ids
    assert len(set(words(4_900))) == 4_900
