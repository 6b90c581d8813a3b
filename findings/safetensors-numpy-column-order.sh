#!/usr/bin/env bash
# safetensors 0.8.0: `safetensors.numpy.save_file` writes a NumPy array in column order (`a.T`) with permuted values.
#
# Expected: the loaded array equals the saved one, as with safetensors 0.7.0, or an exception is raised, as by
#   `safetensors.torch.save_file` for such tensors. The documentation asks for contiguous and dense arrays; an array in
#   column order is both (`F_CONTIGUOUS`).
# Behaviour: 0.8.0 writes the memory of the array as it is, with the array's shape, and readers take it for row order.
#   Shape and data type are right and nothing is logged. Transposed matrices and many results of LAPACK are in column
#   order, such as the components of a PCA. `np.ascontiguousarray` before saving prevents it.
#   (github.com/safetensors/safetensors/issues/825; open for 0.8.0.)
# Output seen:
#   0.8.0: saved [[0, 3], [1, 4], [2, 5]], loaded [[0, 1], [2, 3], [4, 5]]
#   0.7.0: saved [[0, 3], [1, 4], [2, 5]], loaded [[0, 3], [1, 4], [2, 5]]
#
# Exits 0 while the behaviour is as described, 1 once it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/try.py" <<'PY'
import sys

import numpy as np
from safetensors.numpy import load_file, save_file

version, expected = sys.argv[1:]
saved = np.arange(6, dtype=np.int32).reshape(2, 3).T
assert saved.flags.f_contiguous
save_file({"matrix": saved}, f"{version}.safetensors")
loaded = load_file(f"{version}.safetensors")["matrix"]
print(f"{version}: saved {saved.tolist()}, loaded {loaded.tolist()}")
if (not np.array_equal(saved, loaded)) != (expected == "differs"):
    sys.exit(f"{version}: the loaded array no longer {'differs' if expected == 'differs' else 'equals the saved one'}")
PY
cd "$folder"
for pair in 0.8.0:differs 0.7.0:equal; do
    python3 -m venv "${pair%%:*}"
    "${pair%%:*}/bin/pip" install --quiet safetensors=="${pair%%:*}" numpy==2.4.6
    "${pair%%:*}/bin/python" try.py "${pair%%:*}" "${pair##*:}"
done
