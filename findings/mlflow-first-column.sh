#!/bin/bash
# mlflow 3.17.2: a model of sentences that gets a table of two columns predicts on the first one, without a word.
#
# Expected: input that a signature does not describe is refused, or named in a warning, as a signature whose column
#   has a name does ("Found extra inputs in the model input that are not defined in the model signature").
# Behaviour: where the one column of the signature has no name, as for a list of strings, a table is cut to its first
#   column; where the signature comes from the type hint `list[str]`, the first column of strings is taken. A table of
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
    """Gives back the first column that it gets."""

    def predict(self, context, model_input, params=None):
        return model_input.iloc[:, 0].tolist()


class Sentences(mlflow.pyfunc.PythonModel):
    """Gives back the sentences that it gets."""

    def predict(self, model_input: list[str]) -> list[str]:
        return list(model_input)


def predicted(name, model, table, column=None):
    """Predictions of a saved model, and the number of warnings on the way."""
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
