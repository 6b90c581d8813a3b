"""A cleaned parallel corpus on disk, split into training and validation pairs.

The corpus is read twice. The first pass keeps a code and three 64-bit hashes per pair in memory; from these
it finds repetitions, held-out pairs and equal English sentences. The second pass writes the kept pairs to
disk. So a pair takes some tens of bytes of memory, whatever its length.

Two pairs are the same if both sides are canonically equal. Training pairs are compared with tests and
validation in the wider form of `themo.models.normal_form.comparable`.

Hashes replace texts: among ten million texts the odds of a collision are 1 in 400,000.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from themo.data.cleaning import KEPT, Drops, Rules, code_of, judge, strip
from themo.data.corpora import IMAGE, SIDES, Corpus
from themo.errors import InputError
from themo.models.normal_form import comparable
from themo.process.progress import track

Hashes = npt.NDArray[np.uint64]
TRAIN, VALIDATION = "train", "validation"
_DROPS = "drops.json"
_FORM = 4
"""Version of the code in the digest; raised when the same corpora and rules give other pairs."""
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
        scan = _scan(self.corpora, self.rules, self.test_texts, self.test_images)
        if self.validation is not None:
            apart = _scan([self.validation], self.rules)
            chosen = _at_most(apart.codes == KEPT, apart.pairs, self.validation_pairs)
            lost = Drops.count(self.validation.name, apart.codes)
            _refuse_none("data.validation", chosen, [lost])
            _write(folder, [self.validation], apart, {VALIDATION: chosen})
            shared = (scan.codes == KEPT) & np.isin(scan.comparable_en, apart.comparable_en[chosen])
            scan.codes[shared] = code_of("of the validation pairs")
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


@dataclass(frozen=True)
class _Scan:
    """Result of the first pass over R pairs: codes (R,), hashes of English and of both sides (R,).

    `comparable_en` are hashes of the English sides' comparable form.
    """

    codes: npt.NDArray[np.uint8]
    en: Hashes
    comparable_en: Hashes
    pairs: Hashes
    sizes: tuple[int, ...]

    def by_corpus(self) -> list[npt.NDArray[np.uint8]]:
        return np.split(self.codes, np.cumsum(self.sizes)[:-1])


def _scan(
    corpora: Sequence[Corpus],
    rules: Rules,
    test_texts: frozenset[str] = frozenset(),
    test_images: frozenset[str] = frozenset(),
) -> _Scan:
    codes, en, comparable_en, pairs, sizes = [], [], [], [], []
    test = _hash_comparable(test_texts)
    images = pa.array(sorted(test_images), pa.large_string())
    for corpus in corpora:
        n_rows = 0
        for batch in map(strip, corpus.batches()):
            code, (en_hash, es_hash) = judge(batch, rules), (_hash(batch.column(side)) for side in SIDES)
            comparable_hash = _hash_comparable(batch.column("en").to_pylist())
            if len(test):
                of_tests = np.isin(comparable_hash, test)
                of_tests |= np.isin(_hash_comparable(batch.column("es").to_pylist()), test)
                code[of_tests & (code == KEPT)] = code_of("of the tests")
            if IMAGE in batch.schema.names:
                captions_one = np.asarray(pc.is_in(batch.column(IMAGE), value_set=images))
                code[captions_one & (code == KEPT)] = code_of("of images of the tests")
            codes.append(code)
            en.append(en_hash)
            comparable_en.append(comparable_hash)
            pairs.append(en_hash * np.uint64(0x9E3779B97F4A7C15) ^ es_hash)  # odd: a bijection of hashes
            n_rows += len(batch)
        sizes.append(n_rows)
    scan = _Scan(
        np.concatenate(codes),
        np.concatenate(en),
        np.concatenate(comparable_en),
        np.concatenate(pairs),
        tuple(sizes),
    )
    kept = np.flatnonzero(scan.codes == KEPT)
    repeated = np.ones(len(kept), dtype=np.bool_)
    repeated[np.unique(scan.pairs[kept], return_index=True)[1]] = False
    scan.codes[kept[repeated]] = code_of("duplicate")
    return scan


def _hash(texts: pa.Array) -> Hashes:
    """Return (N,) uint64 hashes, equal for equal texts on every machine."""
    return _hash_bytes(texts.cast(pa.large_binary()).to_pylist())


def _hash_comparable(texts: Iterable[str]) -> Hashes:
    """Return (N,) uint64 hashes, equal for texts of the same comparable form."""
    return _hash_bytes(comparable(text).encode() for text in texts)


def _hash_bytes(texts: Iterable[bytes]) -> Hashes:
    digests = (hashlib.blake2b(text, digest_size=8).digest() for text in texts)
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


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
            f"{setting}: must hold at least one usable pair, all were dropped ({'; '.join(map(str, drops))})"
        )


def _write(
    folder: Path, corpora: Sequence[Corpus], scan: _Scan, parts: dict[str, npt.NDArray[np.bool_]]
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


def _write_arrays(folder: Path, scan: _Scan, chosen: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
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
