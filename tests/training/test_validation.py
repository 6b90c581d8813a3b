from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from tiny import SettingsFactory, write_captioned_images
from torch.nn import functional

from themo.data.dataset import CaptionedImages, EncodedPairs, TrainingData
from themo.data.preparation import prepare_data
from themo.errors import InputError
from themo.evaluation.encoders import examine
from themo.models.student import Student
from themo.training.loop import Report, build_student, train
from themo.training.losses import build_loss
from themo.training.nesting import Nesting
from themo.training.validation import Validation

CPU = torch.device("cpu")


@pytest.fixture
def student(settings: SettingsFactory, tiny_data: TrainingData) -> Student:
    torch.manual_seed(0)
    return build_student(settings(dropout=0.5), tiny_data).train()


def states(student: Student, data: TrainingData) -> tuple[torch.Tensor, torch.Tensor]:
    """Student and teacher vectors of the held-out pairs, one by one in their order."""
    pairs = data.validation
    student.eval()
    with torch.inference_mode():
        vectors = [
            student(torch.tensor(pairs.ids[start:end].astype("int64"))[None])
            for start, end in zip(pairs.offsets[:-1], pairs.offsets[1:], strict=True)
        ]
    student.train()
    return torch.cat(vectors), torch.from_numpy(pairs.targets.rows(pairs.rows))


def test_equals_the_plain_way(student: Student, tiny_data: TrainingData) -> None:
    """Against one sentence at a time and a full table of cosines."""
    validate = Validation(tiny_data, max_length=16, device=CPU)
    measured = validate(student, build_loss("mse+cosine", 0.1), torch.float32)
    assert student.training
    students, teachers = states(student, tiny_data)
    cosines = functional.cosine_similarity(students, teachers)
    assert measured["val/cosine"] == pytest.approx(cosines.mean().item(), abs=1e-5)
    expected_loss = functional.mse_loss(students, teachers) + 1 - cosines.mean()
    assert measured["val/loss"] == pytest.approx(expected_loss.item(), rel=1e-5)
    nearest = functional.cosine_similarity(students[:, None], teachers[None], dim=2).argmax(dim=1)
    ids = torch.tensor(tiny_data.validation.english_ids)
    assert measured["val/match@01"] == pytest.approx((ids[nearest] == ids).float().mean().item())


class Oracle(torch.nn.Module):
    """Knows the answers by token ids."""

    def __init__(self, pairs: EncodedPairs) -> None:
        super().__init__()
        self.answers = {
            tuple(pairs.ids[a:b].tolist()): torch.from_numpy(pairs.targets.rows(np.array([row]))[0])
            for a, b, row in zip(pairs.offsets[:-1], pairs.offsets[1:], pairs.rows, strict=True)
        }

    def forward(self, ids_BL: torch.Tensor, mask_BL: torch.Tensor | None) -> torch.Tensor:
        rows = ids_BL if mask_BL is None else [i[m] for i, m in zip(ids_BL, mask_BL, strict=True)]
        return torch.stack([self.answers[tuple(row.tolist())] for row in rows])


def test_a_perfect_student_matches_all(tiny_data: TrainingData) -> None:
    validate = Validation(tiny_data, max_length=16, device=CPU)
    oracle = Oracle(tiny_data.validation)
    measured = validate(oracle, build_loss("mse", 0.1), torch.float32)  # type: ignore[arg-type]
    assert measured["val/match@01"] == 1.0
    assert measured["val/loss"] == 0.0
    assert measured["val/cosine"] == pytest.approx(1.0)


def test_retrieval_of_a_width_lies_along_the_axes(tiny_data: TrainingData, tmp_path: Path) -> None:
    """Captions equal to their images are found at each width, if both lie along the same axes."""
    draw = np.random.default_rng(0)
    np.save(tmp_path / "vectors.npy", draw.normal(size=tiny_data.validation.targets.shape).astype("f4"))
    pairs = EncodedPairs(tiny_data.validation.folder, tmp_path / "vectors.npy")
    data = replace(tiny_data, validation=pairs, images=CaptionedImages(pairs, None))
    axes = torch.linalg.qr(torch.from_numpy(draw.normal(size=(12, 12)).astype("f4")))[0]
    validate = Validation(data, 16, CPU, Nesting((4, 8), (1.0, 1.0), 1.0, axes, None))
    measured = validate(Oracle(pairs), build_loss("mse", 0.1), torch.float32)  # type: ignore[arg-type]
    for width in ("", "width4/", "width8/"):
        assert measured[f"val/{width}retrieval@01"] == 1.0


def test_a_failed_validation_restores_the_mode(student: Student, tiny_data: TrainingData) -> None:
    def fail(_students: torch.Tensor, _teachers: torch.Tensor) -> NoReturn:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        Validation(tiny_data, max_length=16, device=CPU)(student, fail, torch.float32)
    assert student.training


def test_validation_draws_no_random_numbers(student: Student, tiny_data: TrainingData) -> None:
    """Validating more or less often leaves the training as it is."""
    validate = Validation(tiny_data, max_length=16, device=CPU)
    before = torch.get_rng_state()
    first, second = (validate(student, build_loss("infonce", 0.1), torch.float32) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert first == second


@pytest.fixture
def images(tmp_path: Path) -> dict[str, str]:
    """Images for validation, as settings."""
    write_captioned_images(tmp_path, 12)
    return {"validation_captions": str(tmp_path / "xtd10"), "validation_images": str(tmp_path / "mscoco")}


@pytest.mark.parametrize("target", ["state", "embedding", "unit"])
def test_retrieval_equals_that_of_the_test(
    settings: SettingsFactory, images: dict[str, str], tmp_path: Path, target: Any
) -> None:
    """The kept student, chosen by retrieval, scores on the same images as it did in training."""
    config = settings(**images, target=target, epochs=3.0, report_pairs=32, max_length=48)
    reports: list[Report] = []

    def report(last: Report) -> None:
        reports.append(last)
        if last.is_last:
            last.save(tmp_path / "version")

    train(config, prepare_data(config), report=report)
    seen = {r.metrics["val/retrieval@01"] for r in reports}
    assert len(seen) > 1
    assert reports[-1].metrics["best/val/retrieval@01"] == max(seen)
    as_test = config.override(
        {"captions": images["validation_captions"], "images": images["validation_images"]}
    )
    scores = examine(as_test, tmp_path / "version", task="retrieval").scores
    assert scores.share("student", "retrieval", 1) == max(seen)


def test_images_do_not_touch_the_training(settings: SettingsFactory, images: dict[str, str]) -> None:
    tests = {"captions": images["validation_captions"], "images": images["validation_images"]}
    plain = settings(objective="val/loss", **tests)  # their captions are kept out of both
    seeing = settings(objective="val/loss", **images)
    first, second = (
        train(config, prepare_data(config), report=lambda _: None).metrics for config in (plain, seeing)
    )
    for name in ("train/loss", "val/loss", "val/match@01"):
        assert first[name] == second[name]


def test_missing_images_are_named(settings: SettingsFactory, images: dict[str, str]) -> None:
    with pytest.raises(InputError, match=r"^data\.validation_images: no such file or folder: nosuch$"):
        prepare_data(settings(**images | {"validation_images": "nosuch"}))
    with pytest.raises(InputError, match=r"test_1kcaptions_fr\.txt: cannot be read"):
        prepare_data(settings(**images, language="fr"))
