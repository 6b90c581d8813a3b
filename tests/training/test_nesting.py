from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import SettingsFactory
from torch.nn import functional

from themo.config.sections import LossSettings
from themo.data.dataset import TrainingData
from themo.data.preparation import prepare_data
from themo.errors import InputError
from themo.files.vectors import VectorFile
from themo.models.axes import AXES_FILE, principal_axes, read_axes
from themo.training.loop import Report, train
from themo.training.losses import build_loss
from themo.training.nesting import Nesting, nest


def vectors(n: int, d: int, seed: int) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def plain(widths: tuple[int, ...], weights: tuple[float, ...], dimension: int) -> Nesting:
    return Nesting(widths, weights, 1.0, torch.eye(dimension), None)


def file_of(folder: Path, values: Any) -> VectorFile:
    np.save(folder / "vectors.npy", np.asarray(values, dtype=np.float32))
    return VectorFile(folder / "vectors.npy")


def trained(settings: Any, data: TrainingData, folder: Path) -> list[Report]:
    reports: list[Report] = []

    def report(last: Report) -> None:
        last.save(folder)
        reports.append(last)

    train(settings, data, report=report)
    return reports


def test_axes_come_by_their_share_of_the_targets(tmp_path: Path) -> None:
    # three targets of four along the second dimension, one along the first
    axes = principal_axes(file_of(tmp_path, [[0, 2], [0, 5], [3, 0]]), np.array([0, 1, 1, 2]))
    torch.testing.assert_close(axes, torch.tensor([[0.0, 1.0], [1.0, 0.0]]))


def test_axes_are_a_rotation_that_keeps_every_cosine(tmp_path: Path) -> None:
    targets = vectors(50, 6, 0)
    axes = principal_axes(file_of(tmp_path, targets), np.arange(50))
    torch.testing.assert_close(axes.T @ axes, torch.eye(6), atol=1e-5, rtol=0)
    whole = functional.cosine_similarity(targets[:1], targets)
    torch.testing.assert_close(functional.cosine_similarity(targets[:1] @ axes, targets @ axes), whole)


def test_axes_of_states_are_those_of_their_embeddings(tmp_path: Path) -> None:
    mapping = vectors(6, 4, 1)
    embeddings = vectors(30, 5, 0) @ mapping[:-1] + mapping[-1]
    of_states = principal_axes(file_of(tmp_path, vectors(30, 5, 0)), np.arange(30), mapping)
    of_embeddings = principal_axes(file_of(tmp_path, embeddings), np.arange(30))
    torch.testing.assert_close(of_states, of_embeddings, atol=1e-4, rtol=0)


@pytest.mark.parametrize("mixture", ["cosine", "infonce", "cosine+0.1*infonce"])
def test_nested_loss_adds_that_of_each_prefix(mixture: str) -> None:
    students, teachers, loss_of = vectors(5, 6, 0), vectors(5, 6, 1), build_loss(mixture, 0.1)
    total, terms = nest(loss_of, plain((2, 4), (1.0, 0.5), 6))(students, teachers)
    short = [loss_of(students[:, :k], teachers[:, :k])[0] for k in (2, 4)]  # these losses are blind to length
    torch.testing.assert_close(total, loss_of(students, teachers)[0] + short[0] + 0.5 * short[1])
    torch.testing.assert_close(terms["width2"], short[0])
    assert list(terms)[-2:] == ["width2", "width4"]


def test_mse_of_a_prefix_weighs_as_that_of_a_whole_vector() -> None:
    # a teacher of length 5 and prefixes at right angles: (2 - 2 cos) / 4 of the square of 5
    students, teachers = torch.tensor([[0.0, 1, 0, 0]]), torch.tensor([[3.0, 0, 4, 0]])
    _, terms = nest(build_loss("mse", 0.1), plain((2,), (1.0,), 4))(students, teachers)
    assert terms["width2"].item() == pytest.approx(2 / 4 * 25)


def test_prefixes_lie_along_the_axes_of_image_space() -> None:
    mapping, axes = vectors(6, 4, 2), torch.linalg.qr(vectors(4, 4, 3))[0]
    nesting = Nesting((2,), (1.0,), 1.0, axes, mapping)
    states = vectors(3, 5, 0)
    torch.testing.assert_close(nesting.along_axes(states), (states @ mapping[:-1] + mapping[-1]) @ axes)


def test_the_whole_dimension_as_a_width_weighs_whole_vectors(tiny_data: TrainingData) -> None:
    widths = LossSettings(nested_widths=(4, tiny_data.dimension), nested_weights=(1.0, 3.0))
    nesting = Nesting.of(widths, tiny_data)
    assert nesting is not None
    assert (nesting.widths, nesting.whole_weight) == ((4,), 3.0)


def test_no_widths_no_nesting(tiny_data: TrainingData) -> None:
    assert Nesting.of(LossSettings(), tiny_data) is None


@pytest.mark.parametrize("target", ["state", "embedding"])
def test_a_run_reports_widths_and_keeps_its_axes(
    settings: SettingsFactory, tmp_path: Path, target: str
) -> None:
    chosen = settings(nested_widths=(4, 8), target=target, loss="cosine")
    data = prepare_data(chosen)
    assert (data.to_image_space is not None) == (target == "state")
    reports = trained(chosen, data, tmp_path / "v")
    for name in ("train/width4", "val/width8/match@01", "best/val/width4/match@01"):
        assert name in reports[-1].metrics, name
    axes = read_axes(tmp_path / "v" / "student")
    assert axes is not None
    assert axes.shape == (12, 12)  # of the embedding


def test_a_resumed_run_takes_its_versions_axes(
    settings: SettingsFactory, tiny_data: TrainingData, tmp_path: Path
) -> None:
    chosen = settings(nested_widths=(4,))
    trained(chosen, tiny_data, tmp_path)
    kept = read_axes(tmp_path / "student")
    other = replace(tiny_data, train=tiny_data.validation)  # other targets have other axes
    fresh, resumed = (Nesting.of(chosen.loss, other, place) for place in (None, tmp_path))
    assert fresh is not None
    assert resumed is not None
    assert torch.equal(resumed.axes, kept)
    assert not torch.equal(fresh.axes, kept)


def test_damaged_axes_are_refused(tmp_path: Path) -> None:
    (tmp_path / AXES_FILE).write_bytes(b"no axes")
    with pytest.raises(InputError, match=r"axes.safetensors: cannot be read"):
        read_axes(tmp_path)


def test_a_width_above_the_dimension_is_refused(settings: SettingsFactory, tiny_data: TrainingData) -> None:
    with pytest.raises(InputError, match=r"nested_widths must be at most the \d+ dimensions .* got 999"):
        train(settings(nested_widths=(4, 999)), tiny_data, report=lambda _: None)
