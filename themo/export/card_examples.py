"""The example of a card: sentences whose vectors reveal a wrongly loaded model.

Two sentences have the same words in another order, and one is shorter, so that lost positions, a wrong
pooling, a wrong mask and untrained weights all show in the printed values.

Shape suffixes: N sentences, E dimensions.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from themo.config.presets import MINIATURE
from themo.export.source import Source
from themo.models.static_table import load_table
from themo.models.table_folders import is_table

N_VALUES = 4
"""Values of each vector that a card prints."""
_PHOTOGRAPHS = ("un perro persigue a un gato", "un gato persigue a un perro", "dos gatos")
_SHAPES = ("un disco encima de una estrella", "una estrella encima de un disco", "dos discos")


def example_sentences(source: Source) -> tuple[str, ...]:
    """Return the sentences of a card, of things that the student knows."""
    return _SHAPES if source.settings.teacher.architecture.startswith(MINIATURE) else _PHOTOGRAPHS


def example_vectors(folder: Path, source: Source) -> Tensor:
    """Return the vectors of the example, (N, E): those of a static table, else the student's."""
    texts = example_sentences(source)
    if is_table(folder):
        return load_table(folder).encode(texts)
    return source.student.encode(source.tokenizer, texts)


def expected_values(vectors_NE: Tensor) -> str:
    """Return the card's lines on the values to expect, of vectors scaled to length 1."""
    vectors_NE = vectors_NE / vectors_NE.norm(dim=1, keepdim=True).clamp(min=1e-12)
    rows = "\n".join(" ".join(f"{value:7.4f}" for value in row) for row in vectors_NE[:, :N_VALUES].tolist())
    return (
        f"The first {N_VALUES} values of each vector, divided by the vector's length. Values that differ by "
        f"more than 0.01 mean that the model is not read as it was trained:\n\n```text\n{rows}\n```\n"
    )
