"""Lines of `train` before the first step."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import SettingsFactory, write_captioned_images

import themo
from themo.checkpoints.versions import read_summary
from themo.data.preparation import prepare_data
from themo.data.xtd10 import Xtd10
from themo.models.teacher import Teacher
from themo.training.briefing import briefing, retrieval_of_teacher


@pytest.fixture
def captioned(tmp_path: Path) -> dict[str, str]:
    write_captioned_images(tmp_path, 8)
    return {"validation_captions": str(tmp_path / "xtd10"), "validation_images": str(tmp_path / "mscoco")}


def test_the_ceiling_is_the_teachers_retrieval(
    settings: SettingsFactory, captioned: dict[str, str], tiny_teacher: Path
) -> None:
    data = prepare_data(settings(**captioned))
    assert data.images is not None
    teacher = Teacher.load(str(tiny_teacher))
    images = Xtd10.open(Path(captioned["validation_captions"]), Path(captioned["validation_images"]))
    texts = torch.from_numpy(teacher.encode_texts(images.captions["en"], "embedding"))
    found = (torch.nn.functional.normalize(texts) @ teacher.encode_images(images.images).T).argmax(dim=1)
    right = np.mean(found.numpy() == np.arange(8))
    assert retrieval_of_teacher(data.images) == pytest.approx(right)
    assert retrieval_of_teacher(replace(data.images, english=None)) is None


@pytest.mark.parametrize(
    ("objective", "said"),
    [
        ("val/match@01", "val/match@01 1.0000, of the teacher's own vectors"),
        ("val/cosine", "val/cosine 1.0000, of the teacher's own vectors"),
        ("val/loss", "val/loss unknown: the lowest loss depends on its terms"),
    ],
)
def test_ceilings_of_the_other_objectives(settings: SettingsFactory, objective: str, said: str) -> None:
    config = settings(objective=objective)
    environment = {"device": "cpu (x86_64)", "precision": "float32", "threads": 3}
    facts = {"environment": environment, "parameters": 1_500_000}
    device, student, ceiling = briefing(config, prepare_data(config), facts)
    assert device == "Device:        cpu (x86_64), float32, 3 CPU threads"
    assert student == "Student:       1,500,000 parameters, 6.0 MB"
    assert ceiling == f"Ceiling:       {said}"


def test_a_run_prints_its_briefing_first(
    settings: SettingsFactory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = settings(epochs=0.2)
    file = tmp_path / "own.yaml"
    file.write_text(config.to_yaml(), encoding="utf-8")
    said: list[str] = []

    def report(_last: object) -> None:
        said.append(capsys.readouterr().err)

    result = themo.train(config=file, logs_dir=str(tmp_path / "logs"), mlflow=False, report=report)
    parameters = read_summary(result.version)["parameters"]
    assert re.search(r"^Device:        cpu \(\w+\), float32, 1 CPU thread$", said[0], re.MULTILINE)
    assert f"Student:       {parameters:,} parameters, {parameters * 4 / 1e6:,.1f} MB\n" in said[0]
    assert "Ceiling:       val/match@01 1.0000" in said[0]
    assert all("Ceiling" not in later for later in said[1:])
    themo.train(config=file, logs_dir=str(tmp_path / "logs"), mlflow=False, quiet=True)
    assert "Ceiling" not in capsys.readouterr().err
