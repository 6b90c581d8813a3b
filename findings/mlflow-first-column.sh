#!/usr/bin/env bash
# mlflow 3.17.2: a model of sentences that receives a table of two columns uses the first one, without a warning.
#
# Expected: mlflow refuses input that the signature does not describe, or names it in a warning. A signature with a
#   named column does so ("Found extra inputs in the model input that are not defined in the model signature").
# Behaviour: if the only column of the signature has no name, as for a list of strings, mlflow cuts a table to its first
#   column. If the signature comes from the type hint `list[str]`, mlflow uses the first column of strings. A table of
#   `id` and `text` gives predictions for the ids; the same table with its columns exchanged, for the texts.
# Output seen:
#   column without a name: a1, b2; 0 warnings
#   type hint list[str]: a1, b2; 0 warnings
#   type hint list[str], columns exchanged: hola, adiós; 0 warnings
#   column named text: hola, adiós; 1 warning
#
# Exits 0 while the behaviour is as described, 1 once it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet mlflow==3.17.2
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import logging
import sys
import warnings

import mlflow
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema

warnings.simplefilter("ignore")
logging.getLogger("mlflow").setLevel(logging.ERROR)


class Table(mlflow.pyfunc.PythonModel):
    """Returns the first column of its input."""

    def predict(self, context, model_input, params=None):
        return model_input.iloc[:, 0].tolist()


class Sentences(mlflow.pyfunc.PythonModel):
    """Returns the sentences of its input."""

    def predict(self, model_input: list[str]) -> list[str]:
        return list(model_input)


def predicted(name, model, table, column=None):
    """Predictions of a saved model, and the number of warnings."""
    signature = column and ModelSignature(inputs=Schema([column]))
    mlflow.pyfunc.save_model(name, python_model=model, signature=signature)
    loaded = mlflow.pyfunc.load_model(name)
    logger, counted = logging.getLogger("mlflow"), []
    handler = logging.Handler()
    handler.emit = counted.append
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)
    result = loaded.predict(table)
    logger.removeHandler(handler)
    logger.setLevel(logging.ERROR)
    print(f"{name}: {', '.join(result)}; {len(counted)} warning{'s' * (len(counted) != 1)}")
    return result, len(counted)


ids, texts = ["a1", "b2"], ["hola", "adiós"]
table = pd.DataFrame({"id": ids, "text": texts})
seen = [
    predicted("column without a name", Table(), table, ColSpec(DataType.string)),
    predicted("type hint list[str]", Sentences(), table),
    predicted("type hint list[str], columns exchanged", Sentences(), table[["text", "id"]]),
    predicted("column named text", Table(), table, ColSpec(DataType.string, "text")),
]
sys.exit(seen != [(ids, 0), (ids, 0), (texts, 0), (texts, 1)])
PY
