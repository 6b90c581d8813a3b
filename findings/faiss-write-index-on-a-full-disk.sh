#!/usr/bin/env bash
# faiss-cpu 1.15.1: `write_index` returns without an error although the end of the file does not fit on the disk.
#
# Expected: an exception. Python's own `close` raises one, and so does `write_index` if the disk is full before the
#   last 4 KiB.
# Behaviour: the C library writes the rest of its buffer when the file is closed. If that fails, faiss prints a line
#   on standard error and returns; the file is truncated. `serialize_index` and a write by Python raise an exception.
# Seen: "write_index: returned", "serialize_index and write_bytes: OSError: No space left on device".
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/try.py" <<'PYTHON'
import sys
from pathlib import Path

import faiss
import numpy as np

index = faiss.IndexFlatL2(16)
index.add(np.ones((10, 16), np.float32))


def outcome(write):
    try:
        write()
    except Exception as error:
        return f"{type(error).__name__}: {getattr(error, 'strerror', error)}"
    return "returned"


full = Path("/dev/full")  # every write to it fails with "No space left on device"
by_faiss = outcome(lambda: faiss.write_index(index, str(full)))
by_python = outcome(lambda: full.write_bytes(faiss.serialize_index(index)))
print(f"write_index: {by_faiss}")
print(f"serialize_index and write_bytes: {by_python}")
sys.exit(int((by_faiss, by_python) != ("returned", "OSError: No space left on device")))
PYTHON
python -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet faiss-cpu==1.15.1 numpy==2.3.4
"$folder/venv/bin/python" "$folder/try.py"
