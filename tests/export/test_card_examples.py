"""The values that a card prints: right for the export, and wrong for another model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from consumers import blocks, expected_values, first_values
from safetensors.torch import load_file

from themo.config.settings import load
from themo.export.card_examples import example_sentences
from themo.export.exporting import export_version
from themo.export.source import Source
from themo.files.weights import write_weights

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

LIMIT = 0.01
"""The difference that the card's text names."""


def run_example(folder: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """The vectors of the card's own lines, run in its folder."""
    monkeypatch.chdir(folder)
    variables: dict[str, Any] = {}
    exec(blocks(folder / "README.md", "python")[0], variables)  # noqa: S102 -- what the card tells to run
    return np.asarray(variables["vectors"])


def untrain(path: Path, names: str) -> None:
    """Replace the matrices of a text encoder by random ones."""
    random = torch.Generator().manual_seed(0)
    tensors = load_file(path)
    for name, tensor in tensors.items():
        if name.startswith(names) and tensor.ndim == 2:
            tensors[name] = torch.randn(tensor.shape, generator=random) * 0.02
    write_weights(tensors, path, {"format": "pt"})


@pytest.mark.parametrize(
    ("name", "weights", "tensors"),
    [
        ("transformers", "model.safetensors", ""),
        ("sentence-transformers", "model.safetensors", ""),
        ("open_clip", "open_clip_model.safetensors", "text."),
    ],
)
def test_an_untrained_model_shows(
    source: Callable[..., Source],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    weights: str,
    tensors: str,
) -> None:
    folder = export_version(source(), name, tmp_path / "export").folder
    expected = expected_values(folder)
    assert expected.shape == (3, 4)
    assert np.abs(first_values(run_example(folder, monkeypatch)) - expected).max() < LIMIT / 10
    untrain(folder / weights, tensors)
    assert np.abs(first_values(run_example(folder, monkeypatch)) - expected).max() > LIMIT


@pytest.mark.slow
@pytest.mark.parametrize("name", ["onnx", "immich", "mlflow"])
def test_a_graph_gives_the_cards_values(
    source: Callable[..., Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = export_version(source(), name, tmp_path / "export").folder
    found = first_values(run_example(folder, monkeypatch))
    assert np.abs(found - expected_values(folder)).max() < LIMIT / 10


def test_a_wrong_pooling_shows(
    source: Callable[..., Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = export_version(source(pooling="first"), "transformers", tmp_path / "export").folder
    expected = expected_values(folder)
    assert np.abs(first_values(run_example(folder, monkeypatch)) - expected).max() < LIMIT / 10
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8")
    assert "states[:, 0]" in text
    card.write_text(text.replace("states[:, 0]", "states.mean(1)"), encoding="utf-8")
    assert np.abs(first_values(run_example(folder, monkeypatch)) - expected).max() > LIMIT


def test_a_static_table_has_values_of_its_own(source: Callable[..., Source], tmp_path: Path) -> None:
    import themo

    opened = source()
    folder = export_version(opened, "static", tmp_path / "export").folder
    vectors = themo.load(folder).encode(list(example_sentences(opened)))
    assert np.abs(vectors[:, :4] - expected_values(folder)).max() < LIMIT


def test_examples_are_sentences_that_the_student_knows(source: Callable[..., Source]) -> None:
    from dataclasses import replace

    opened = source()
    assert example_sentences(opened)[0] == "un perro persigue a un gato"
    miniature = replace(opened, settings=load())
    first, second, third = example_sentences(miniature)
    assert sorted(first.replace("una", "un").split()) == sorted(second.replace("una", "un").split())
    assert first != second
    assert len(third.split()) < len(first.split())
