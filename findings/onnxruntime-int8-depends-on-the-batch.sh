#!/usr/bin/env bash
# onnxruntime 1.32.0: in a graph of `quantize_dynamic`, the output for a row depends on the other rows of its batch.
#
# Expected: a network without batch normalization gives the same output for a row alone and in a batch, within rounding
#   of float32. Dynamic quantization computes the scales of activations for each input, so also for each row.
# Behaviour: `DynamicQuantizeLinear` computes one scale for the whole batch, from its least and greatest activation. If
#   one row has large values, the others keep fewer levels. So the vector of a sentence changes with the sentences that
#   are encoded with it: a sentence encoded twice has two vectors, results depend on batch size and order, and
#   `per_channel=True`, which concerns weights, does not help. The float graph gives the same output.
# Output seen (cosine of a row's output alone to its output beside a row with values 10 and 100 times as large):
#   float32: 1.0000, 1.0000
#   8 bits: 0.9992, 0.9815
#
# Exits 0 while the behaviour is as described, 1 once it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import logging
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import InferenceSession
from onnxruntime.quantization import QuantType, quantize_dynamic

logging.disable(logging.WARNING)
random = np.random.default_rng(0)
weights = random.standard_normal((16, 4)).astype(np.float32)
graph = helper.make_graph(
    [helper.make_node("MatMul", ["rows", "weights"], ["vectors"])],
    "projection",
    [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", 16])],
    [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["n", 4])],
    [numpy_helper.from_array(weights, "weights")],
)
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), "float.onnx")
quantize_dynamic("float.onnx", "int8.onnx", weight_type=QuantType.QInt8, per_channel=True)
row, other = random.standard_normal((2, 16)).astype(np.float32)


def cosines(path: str) -> list[float]:
    """Of the row's output alone to its output in batches with another row."""
    session = InferenceSession(path)
    alone, *beside = (
        session.run(None, {"rows": np.stack(rows)})[0][0] for rows in ([row], [row, 10 * other], [row, 100 * other])
    )
    return [float(alone @ each / np.linalg.norm(alone) / np.linalg.norm(each)) for each in beside]


found = {name: cosines(path) for name, path in (("float32", "float.onnx"), ("8 bits", "int8.onnx"))}
for name, values in found.items():
    print(f"{name}: {', '.join(f'{value:.4f}' for value in values)}")
if min(found["float32"]) < 0.999999 or max(found["8 bits"]) > 0.9998:
    sys.exit("changed: the output of the 8-bit graph no longer depends on the batch as described")
PY
