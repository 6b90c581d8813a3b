"""The code of an exported MLflow model: MLflow keeps a copy of this file beside the graph and runs that.

It stands alone, so that the model loads where Themo is not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import onnxruntime
from tokenizers import Tokenizer

BATCH = 64


class SpanishEncoder(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """Spanish sentences to vectors."""

    def load_context(self, context: Any) -> None:
        """Open graph and tokenizer."""
        folder = Path(context.artifacts["encoder"])
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))  # pads and cuts by itself
        self.session = onnxruntime.InferenceSession(str(folder / "model.onnx"))

    def predict(self, model_input: list[str], params: Any = None) -> list[list[float]]:  # noqa: ARG002
        """A vector a sentence."""
        vectors: list[list[float]] = []
        for start in range(0, len(model_input), BATCH):
            encodings = self.tokenizer.encode_batch(list(model_input[start : start + BATCH]))
            ids = np.array([encoding.ids for encoding in encodings])
            mask = np.array([encoding.attention_mask for encoding in encodings])
            (batch,) = self.session.run(None, {"input_ids": ids, "attention_mask": mask})
            vectors += batch.tolist()
        return vectors


mlflow.models.set_model(SpanishEncoder())
