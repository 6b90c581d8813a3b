#!/usr/bin/env bash
# pyarrow 25.0.1: `pyarrow.compute.utf8_normalize(..., form="NFC")` decomposes letters and accents.
#
# Expected: NFC composes, as in Python's unicodedata and as the name of the form says: "n" followed by
#   U+0303 becomes U+00F1, and U+00F1 stays.
# Behaviour: NFC and NFKC give the results of NFD and NFKD. Composed text is decomposed, so a table "normalized" to NFC
#   no longer matches strings in NFC, and a tokenizer reads other tokens.
#   (github.com/apache/arrow/issues/51225; fixed after 25.0.1.)
# Output seen:
#   NFC of U+00F1: U+006E U+0303, expected U+00F1
#   NFC of U+006E U+0303: U+006E U+0303, expected U+00F1
#   NFKC of U+00F1: U+006E U+0303, expected U+00F1
#
# Exits 0 while the behaviour is as described, 1 once it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pyarrow==25.0.1
"$folder/venv/bin/python" - <<'PY'
import sys
import unicodedata

import pyarrow as pa
import pyarrow.compute as pc


def points(text: str) -> str:
    return " ".join(f"U+{ord(character):04X}" for character in text)


changed = False
for form, text in (("NFC", "\u00f1"), ("NFC", "n\u0303"), ("NFKC", "\u00f1")):
    found = pc.utf8_normalize(pa.array([text]), form=form)[0].as_py()
    expected = unicodedata.normalize(form, text)
    print(f"{form} of {points(text)}: {points(found)}, expected {points(expected)}")
    changed |= found != "n\u0303"
sys.exit(changed)
PY
