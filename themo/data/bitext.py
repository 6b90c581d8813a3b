"""A cleaned parallel corpus on disk, split into training and validation pairs.

The corpus is read twice. The first pass (`themo.data.scan`) keeps only hashes of the pairs; from these follow
repetitions, held-out pairs and equal English sentences. The second pass writes the kept pairs to disk.

Two pairs are the same if both sides are canonically equal. Training pairs are compared with tests and
validation in the wider form of `themo.models.normal_form.comparable`: with the texts of tests by both sides,
with the validation pairs by the English side alone. So the Spanish sentence of a validation pair may occur in
training with another English one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from themo.data.cleaning import KEPT, Drops, Rules, code_of, strip
from themo.data.corpora import Corpus
from themo.data.scan import Hashes, Scan, scan_corpora
from themo.errors import InputError
from themo.process.progress import track

TRAIN, VALIDATION = "train", "validation"
_DROPS = "drops.json"
_FORM = 4
"""Version of the code in the digest; increase it when the same corpora and rules give other pairs."""
_TEXT = pa.schema([("text", pa.large_string())])


@dataclass(frozen=True)
class Bitext:
    """N cleaned sentence pairs of one or more corpora, in their order.

    Attributes:
        folder: ``spanish.arrow`` (N texts), ``english.arrow`` (U different texts, in order of first
            appearance), ``english.npy`` (N,) int64 into these, ``rows.npy`` (N,) int64, row of each pair in
            the corpora, and ``bitext.json``.
    """

    folder: Path

    def __len__(self) -> int:
        return sum(self.sizes)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Number of pairs of each corpus."""
        return tuple(self._facts["sizes"])

    @cached_property
    def english_digest(self) -> str:
        """Digest of the different English texts, in their order."""
        return str(self._facts["english"])

    @cached_property
    def english_ids(self) -> npt.NDArray[np.int64]:
        """(N,) index of each pair's English text among the different ones."""
        ids: npt.NDArray[np.int64] = np.load(self.folder / "english.npy", mmap_mode="r", allow_pickle=False)
        return ids

    @cached_property
    def rows(self) -> npt.NDArray[np.int64]:
        """(N,) row of each pair in the corpora, for targets aligned with the corpora."""
        rows: npt.NDArray[np.int64] = np.load(self.folder / "rows.npy", mmap_mode="r", allow_pickle=False)
        return rows

    def spanish(self) -> Iterator[pa.Array]:
        """Yield the Spanish texts in chunks."""
        return _read_texts(self.folder / "spanish.arrow")

    def english(self) -> Iterator[pa.Array]:
        """Yield the different English texts in chunks."""
        return _read_texts(self.folder / "english.arrow")

    @cached_property
    def _facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads((self.folder / "bitext.json").read_text(encoding="utf-8"))
        return facts


@dataclass(frozen=True)
class Plan:
    """Plan for cleaning and splitting corpora.

    Attributes:
        corpora: Corpora of the training pairs and, without `validation`, of the held-out ones.
        rules: Rules of the cleaning.
        validation: Corpus of the held-out pairs, if it is separate.
        validation_pairs: Number of pairs held out of the corpora, or used of `validation`.
        max_pairs: Greatest number of training pairs; None: all.
        test_texts: Sentences of test sets; training pairs with a comparable sentence are dropped.
        test_images: Ids of images of test sets (`themo.data.image_ids`); training pairs that caption one are
            dropped.
    """

    corpora: Sequence[Corpus]
    rules: Rules
    validation: Corpus | None
    validation_pairs: int
    max_pairs: int | None
    test_texts: frozenset[str]
    test_images: frozenset[str] = frozenset()

    @property
    def names(self) -> list[str]:
        """Names of the corpora, then that of the separate corpus of held-out pairs."""
        return [corpus.name for corpus in (*self.corpora, self.validation) if corpus is not None]

    def digest(self) -> list[object]:
        """Return all that determines the result, as a JSON value."""
        return [
            _FORM,
            [corpus.digest() for corpus in self.corpora],
            [self.rules.max_length_ratio, self.rules.check_language],
            self.validation.digest() if self.validation else None,
            [self.validation_pairs, self.max_pairs],
            *(
                hashlib.sha256("\n".join(sorted(of_tests)).encode()).hexdigest()
                for of_tests in (self.test_texts, self.test_images)
            ),
        ]

    def build(self, folder: Path) -> None:
        """Write the `Bitext` folders ``train`` and ``validation`` and the counts of dropped pairs.

        Raises:
            InputError: A corpus cannot be read, or all its pairs are dropped.
        """
        scan = scan_corpora(self.corpora, self.rules, self.test_texts, self.test_images)
        if self.validation is not None:
            apart = scan_corpora([self.validation], self.rules)
            chosen = _at_most(apart.codes == KEPT, apart.pairs, self.validation_pairs)
            lost = Drops.count(self.validation.name, apart.codes)
            _refuse_none("data.validation", chosen, [lost])
            _write(folder, [self.validation], apart, {VALIDATION: chosen})
            shared = (scan.codes == KEPT) & np.isin(scan.comparable_en, apart.comparable_en[chosen])
            scan.codes[shared] = code_of("in the validation pairs")
        drops = [
            Drops.count(corpus.name, codes)
            for corpus, codes in zip(self.corpora, scan.by_corpus(), strict=True)
        ]
        kept = scan.codes == KEPT
        _refuse_none("data.corpus", kept, drops)
        if self.validation is None:
            held = kept & _held_out(scan.comparable_en, kept, self.validation_pairs, drops)
            kept &= ~held
            parts = {TRAIN: kept, VALIDATION: held}
        else:
            parts = {TRAIN: kept}
            drops += [lost] if lost.dropped else []
        if self.max_pairs is not None:
            parts[TRAIN] = _at_most(kept, scan.pairs, self.max_pairs)
        _write(folder, self.corpora, scan, parts)
        (folder / _DROPS).write_text(json.dumps([d.to_json() for d in drops]), encoding="utf-8")


def open_bitexts(folder: Path) -> tuple[Bitext, Bitext, list[Drops]]:
    """Open training pairs, validation pairs and counts of dropped pairs that `Plan.build` wrote."""
    drops = [Drops(**entry) for entry in json.loads((folder / _DROPS).read_text(encoding="utf-8"))]
    return Bitext(folder / TRAIN), Bitext(folder / VALIDATION), drops


def _held_out(
    en: Hashes, kept: npt.NDArray[np.bool_], n: int, drops: Sequence[Drops]
) -> npt.NDArray[np.bool_]:
    """Choose the pairs with the lowest English hashes, so that at least `n` kept pairs are held out.

    The choice depends on content, not on the order of rows; all pairs of a comparable English sentence fall
    on the same side.

    Raises:
        InputError: There are fewer than twice `n` pairs, or too few different English sentences.
    """
    n_kept = int(kept.sum())
    if n_kept < 2 * n:
        raise InputError(
            f"data.validation_pairs must be at most half of the {n_kept} pairs, got {n}: give fewer with "
            f"--validation-pairs, or pairs of their own by --validation ({'; '.join(map(str, drops))})"
        )
    values, counts = np.unique(en[kept], return_counts=True)
    last = int(np.searchsorted(np.cumsum(counts), n))
    if last + 1 >= len(values):
        raise InputError(
            f"data.validation_pairs must leave pairs to train on, got {n} "
            f"for {n_kept} pairs of only {len(values)} different English sentences"
        )
    held: npt.NDArray[np.bool_] = en <= values[last]
    return held


def _at_most(kept: npt.NDArray[np.bool_], pairs: Hashes, n: int) -> npt.NDArray[np.bool_]:
    """Choose at most `n` of the kept pairs, by content."""
    places = np.flatnonzero(kept)
    if len(places) <= n:
        return kept
    chosen = np.zeros_like(kept)
    chosen[places[np.argsort(pairs[places], kind="stable")[:n]]] = True
    return chosen


def _refuse_none(setting: str, kept: npt.NDArray[np.bool_], drops: Sequence[Drops]) -> None:
    if not kept.any():
        raise InputError(
            f"{setting}: must contain at least one usable pair, but all were dropped "
            f"({'; '.join(map(str, drops))})"
        )


def _write(
    folder: Path, corpora: Sequence[Corpus], scan: Scan, parts: dict[str, npt.NDArray[np.bool_]]
) -> None:
    """Read the corpora again and write the chosen pairs."""
    firsts = {name: _write_arrays(folder / name, scan, chosen) for name, chosen in parts.items()}
    with ExitStack() as stack, track("Writing the corpus", len(scan.codes), "pairs") as advance:
        writers = {
            (name, side): stack.enter_context(pa.ipc.new_file(folder / name / f"{side}.arrow", _TEXT))
            for name in parts
            for side in ("spanish", "english")
        }
        start = 0
        for corpus in corpora:
            for batch in map(strip, corpus.batches()):
                window = slice(start, start + len(batch))
                for name, chosen in parts.items():
                    for side, texts, mask in (
                        ("spanish", batch.column("es"), chosen),
                        ("english", batch.column("en"), firsts[name]),
                    ):
                        texts = texts.filter(pa.array(mask[window]))
                        writers[name, side].write(pa.record_batch([texts], schema=_TEXT))
                start = window.stop
                advance(len(batch))


def _write_arrays(folder: Path, scan: Scan, chosen: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Write the arrays of a bitext; return (R,) True at the first appearance of each English text."""
    folder.mkdir()
    rows = np.flatnonzero(chosen)
    _, first, inverse = np.unique(scan.en[rows], return_index=True, return_inverse=True)
    appearance = np.argsort(first, kind="stable")  # number texts by first appearance, not by hash
    number = np.empty_like(appearance)
    number[appearance] = np.arange(len(appearance))
    np.save(folder / "english.npy", number[inverse].astype(np.int64))
    np.save(folder / "rows.npy", rows.astype(np.int64))
    first_rows = rows[first[appearance]]
    ends = np.cumsum(scan.sizes)
    facts = {
        "sizes": np.diff(np.searchsorted(rows, ends), prepend=0).tolist(),
        "english": hashlib.sha256(scan.en[first_rows].tobytes()).hexdigest(),
    }
    (folder / "bitext.json").write_text(json.dumps(facts), encoding="utf-8")
    is_first = np.zeros_like(chosen)
    is_first[first_rows] = True
    return is_first


def _read_texts(path: Path) -> Iterator[pa.Array]:
    with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as reader:
        for i in range(reader.num_record_batches):
            yield reader.get_batch(i).column(0)
