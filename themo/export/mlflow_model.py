"""The code of an exported MLflow model: MLflow runs a copy of this file beside the graph.

It imports nothing of Themo, so that the model loads without Themo.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import onnxruntime
import pandas as pd
from tokenizers import Tokenizer

BATCH = 64


class SpanishEncoder(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """A model from Spanish sentences to vectors."""

    def load_context(self, context: Any) -> None:
        """Open graph and tokenizer."""
        folder = Path(context.artifacts["encoder"])
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))  # pads and cuts by itself
        self.session = onnxruntime.InferenceSession(str(folder / "model.onnx"))

    def predict(self, model_input: pd.DataFrame, params: Any = None) -> list[list[float]]:  # noqa: ARG002
        """Return one vector per sentence.

        Args:
            model_input: One sentence, a list, tuple, array or series of N sentences, or a table with one
                column of text and any other columns. The annotation names the table alone: with any other
                MLflow would choose a column by itself, and a signature would cut a table to its first one.
            params: Ignored.

        Raises:
            ValueError: No sentences, or a table with no column of text or with several.
        """
        sentences = sentences_of(model_input)
        vectors: list[list[float]] = []
        for start in range(0, len(sentences), BATCH):
            encodings = self.tokenizer.encode_batch(sentences[start : start + BATCH])
            ids = np.array([encoding.ids for encoding in encodings])
            mask = np.array([encoding.attention_mask for encoding in encodings])
            (batch,) = self.session.run(None, {"input_ids": ids, "attention_mask": mask})
            vectors += batch.tolist()
        return vectors


def sentences_of(given: Any) -> list[str]:
    """Return the sentences of any input of `SpanishEncoder.predict`."""
    if isinstance(given, str):
        return [given]
    if isinstance(given, pd.DataFrame):
        given = _text_column(given)
    elif isinstance(given, dict):
        given = _text_column(pd.DataFrame(given))
    values = np.asarray(given, dtype=object)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise ValueError(f"sentences must be one list, got an array of shape {values.shape}")
    for row, value in enumerate(values):
        if not isinstance(value, str):
            raise ValueError(f"sentences must be text, got {value!r} in row {row}")
    return [str(value) for value in values]


def _text_column(table: pd.DataFrame) -> Any:
    texts = [i for i in range(table.shape[1]) if _is_text(table.iloc[:, i])]
    if len(texts) != 1:
        rule = "a table must have exactly one column of text"
        names = ", ".join(f"{table.columns[i]} ({table.iloc[:, i].dtype})" for i in range(table.shape[1]))
        got = ", ".join(str(table.columns[i]) for i in texts) or "none"
        raise ValueError(f"{rule}, got {got} of its columns {names}: pass the column itself")
    return table.iloc[:, texts[0]]


def _is_text(column: pd.Series) -> bool:
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    return bool(pd.api.types.infer_dtype(column, skipna=True) == "string")


mlflow.models.set_model(SpanishEncoder())
