"""The first pass over corpora: a code and three 64-bit hashes for each pair.

Hashes replace texts: among ten million texts the odds of a collision are 1 in 400,000. So a pair takes some
tens of bytes of memory, whatever its length.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from themo.data.cleaning import KEPT, Rules, code_of, judge, strip
from themo.data.corpora import IMAGE, SIDES, Corpus
from themo.models.normal_form import comparable

Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Scan:
    """Result of the first pass over R pairs.

    Attributes:
        codes: (R,) reasons of `themo.data.cleaning` for which pairs are dropped, or `KEPT`.
        en: (R,) hashes of the English sides.
        comparable_en: (R,) hashes of their comparable form.
        pairs: (R,) hashes of both sides.
        sizes: Number of pairs of each corpus.
    """

    codes: npt.NDArray[np.uint8]
    en: Hashes
    comparable_en: Hashes
    pairs: Hashes
    sizes: tuple[int, ...]

    def by_corpus(self) -> list[npt.NDArray[np.uint8]]:
        """Return the codes of each corpus."""
        return np.split(self.codes, np.cumsum(self.sizes)[:-1])


def scan_corpora(
    corpora: Sequence[Corpus],
    rules: Rules,
    test_texts: frozenset[str] = frozenset(),
    test_images: frozenset[str] = frozenset(),
) -> Scan:
    """Judge and hash all pairs of some corpora; repeated pairs are dropped.

    Args:
        corpora: Corpora, in the order of the result.
        rules: Rules of the cleaning.
        test_texts: Sentences of test sets; pairs with a comparable sentence are dropped.
        test_images: Ids of images of test sets; pairs that caption one are dropped.

    Raises:
        InputError: A corpus cannot be read.
    """
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
                code[of_tests & (code == KEPT)] = code_of("in the tests")
            if IMAGE in batch.schema.names:
                captions_one = np.asarray(pc.is_in(batch.column(IMAGE), value_set=images))
                code[captions_one & (code == KEPT)] = code_of("of test images")
            codes.append(code)
            en.append(en_hash)
            comparable_en.append(comparable_hash)
            pairs.append(en_hash * np.uint64(0x9E3779B97F4A7C15) ^ es_hash)  # odd: a bijection of hashes
            n_rows += len(batch)
        sizes.append(n_rows)
    scan = Scan(
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
