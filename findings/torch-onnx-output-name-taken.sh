#!/usr/bin/env bash
# torch 2.15.0, onnx 1.23.2: torch.onnx.export writes an invalid graph if an output has the name of an inner value.
#
# Expected: `output_names` renames the outputs. An inner value of the same name gets another name, or the export fails.
# Behaviour: the exporter names inner values after ATen's operations (embedding, linear, softmax, ...). It gives the
#   output the requested name without a check for inner values of that name. A text encoder with an output "embedding"
#   has two values "embedding", because the word embedding has the same name. The export succeeds without a warning;
#   onnx.checker and ONNX Runtime refuse the file.
# Output seen (the list has the names of inner values and of the output):
#   output named "embedding": ['embedding', 'val_1', 'linear', 'embedding']
#   Graph must be in single static assignment (SSA) form, however 'embedding' has been used as output names multiple times.
#   output named "sentence": valid
#
# Exits 0 while the behaviour is as described, 1 once it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.15.0 onnx==1.23.2 onnxscript==0.7.2 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import sys

import onnx
import torch


class Encoder(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.projection = torch.nn.Embedding(10, 4), torch.nn.Linear(4, 3)

    def forward(self, ids):
        return self.projection(self.words(ids)).mean(1)


def reason(output):
    ids = torch.zeros(2, 5, dtype=torch.long)
    torch.onnx.export(Encoder().eval(), (ids,), "model.onnx", input_names=["ids"], output_names=[output], dynamo=True, verbose=False)
    names = [name for node in onnx.load("model.onnx").graph.node for name in node.output]
    try:
        onnx.checker.check_model("model.onnx")
    except onnx.checker.ValidationError as error:
        print(f'output named "{output}": {names}')
        print(str(error).splitlines()[0])
        return True
    print(f'output named "{output}": valid')
    return False


sys.exit(not (reason("embedding") and not reason("sentence")))
PY
