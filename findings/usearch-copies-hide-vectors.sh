#!/usr/bin/env bash
# usearch 2.26.6: copies of one vector hide other vectors of the index, also from a search of 16 times the breadth.
#
# Expected: HNSW is approximate, and a greater `expansion_search` finds more. A query equal to a stored vector finds
#   that vector nearly always; among distinct vectors it does.
# Behaviour: after 400 copies of one vector, 3,600 others are added. About a sixth of these is not found by a query
#   equal to it, and 16 times the breadth does not help. `exact=True` finds them. Nothing is logged. Collections of
#   pictures have such copies: blank pages, placeholders, icons. Adding each distinct vector once avoids it.
# Output seen (share of the 3,600 vectors that a query equal to them finds, breadths 64 and 1,024, and exact):
#   distinct vectors: 1.00, 1.00; exact 1.00
#   400 copies first: 0.84, 0.84; exact 1.00
#
# Exits 0 while the behaviour is as described, 1 once it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet usearch==2.26.6 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import sys

import numpy as np
from usearch.index import Index

N, N_COPIES, WIDTH = 4000, 400, 64
distinct = np.random.default_rng(0).standard_normal((N, WIDTH)).astype(np.float32)
with_copies = distinct.copy()
with_copies[:N_COPIES] = with_copies[0]
keys = np.arange(N)


def shares(name: str, vectors: np.ndarray) -> list[float]:
    """Of the vectors after the copies, those that a query equal to them finds."""
    index = Index(ndim=WIDTH, metric="cos", dtype="f32")
    index.add(keys, vectors, threads=1)

    def share(**options: bool) -> float:
        matches = index.search(vectors[N_COPIES:], 1, threads=1, **options)
        return float((matches.keys[:, 0] == keys[N_COPIES:]).mean())

    found = []
    for index.expansion_search in (64, 1024):
        found.append(share())
    found.append(share(exact=True))
    print(f"{name}: {found[0]:.2f}, {found[1]:.2f}; exact {found[2]:.2f}")
    return found


good, bad = shares("distinct vectors", distinct), shares("400 copies first", with_copies)
if not (min(good) > 0.99 and max(bad[:2]) < 0.95 and bad[2] > 0.99):
    sys.exit("changed: copies of a vector no longer hide others")
PY
