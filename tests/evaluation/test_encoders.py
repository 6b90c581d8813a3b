import json
import os
import shutil
import time
import unicodedata
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from foreign_models import write_marian, write_mclip
from safetensors.torch import load_file, save_file
from tiny import NOUNS, SettingsFactory, write_captioned_images, write_lines, write_picture
from torch.nn import functional

from themo.checkpoints.versions import identity_of
from themo.cli.main import main
from themo.config.settings import Settings, load
from themo.data.dataset import TrainingData
from themo.errors import InputError
from themo.evaluation.encoders import examine
from themo.evaluation.metrics import ranks_by_cosine
from themo.evaluation.report.tables import read_scores
from themo.models.marian import Translator
from themo.models.mclip import MClip
from themo.models.student import load_student
from themo.models.teacher import Teacher
from themo.training.loop import train

N_IMAGES, N_CLASSES = 12, 3


@pytest.fixture
def images(tmp_path: Path) -> dict[str, str]:
    """XTD10 and ImageNet folders of a few random pictures, as settings."""
    write_captioned_images(tmp_path, N_IMAGES)
    random = np.random.default_rng(1)
    synsets = [f"n0000000{i}" for i in range(N_CLASSES)]
    validation = tmp_path / "imagenet" / "ILSVRC" / "Data" / "CLS-LOC" / "val"
    annotations = tmp_path / "imagenet" / "ILSVRC" / "Annotations" / "CLS-LOC" / "val"
    annotations.mkdir(parents=True)
    for i in range(2 * N_CLASSES):
        stem = f"ILSVRC2012_val_{i + 1:08d}"
        write_picture(validation / f"{stem}.JPEG", random)
        name = f"<object><name>{synsets[i % N_CLASSES]}</name></object>"
        write_lines(annotations / f"{stem}.xml", [f"<annotation>{name}</annotation>"])
    write_lines(tmp_path / "imagenet" / "LOC_synset_mapping.txt", [f"{s} thing" for s in synsets])
    rows = [f"{s}\tthe {en}\tel {es}" for s, (en, es) in zip(synsets, NOUNS.items(), strict=False)]
    write_lines(tmp_path / "prompts.tsv", ["synset\ten\tes", *rows])
    return {
        "captions": str(tmp_path / "xtd10"),
        "images": str(tmp_path / "mscoco"),
        "imagenet": str(tmp_path / "imagenet"),
        "prompts": str(tmp_path / "prompts.tsv"),
    }


@pytest.fixture
def tested(settings: SettingsFactory, images: dict[str, str]) -> Settings:
    return settings(**images)


@pytest.fixture
def version(tested: Settings, tiny_data: TrainingData, tmp_path: Path) -> Path:
    folder = tmp_path / "version_0"
    train(tested, tiny_data, report=lambda last: last.save(folder))
    return folder


def test_scores_of_student_ceiling_and_floor(tested: Settings, version: Path) -> None:
    scores = examine(tested, version, baseline=True).scores.to_dict()
    assert set(scores) >= {"student", "ceiling", "teacher_es", "n", "ci95"}
    assert scores["n"] == {"retrieval": N_IMAGES, "accuracy": 2 * N_CLASSES}
    for row in ("student", "ceiling", "teacher_es"):
        assert scores[row]["retrieval@01"] <= scores[row]["retrieval@05"] <= scores[row]["retrieval@10"] <= 1
        assert scores[row]["accuracy@05"] == 1  # of three classes
    json.dumps(scores)


def test_scores_name_the_student_that_was_read(tested: Settings, version: Path) -> None:
    assert examine(tested, version, task="retrieval").student == identity_of(version / "student") is not None


def test_decomposed_captions_and_prompts_score_as_composed(
    settings: SettingsFactory, images: dict[str, str], version: Path, tmp_path: Path
) -> None:
    models = {"translator": str(write_marian(tmp_path / "marian"))}
    config = settings(**images, **models)
    composed = examine(config, version, baseline=True).scores
    for path in [*Path(images["captions"]).glob("*.txt"), Path(images["prompts"])]:
        text = unicodedata.normalize("NFD", path.read_text(encoding="utf-8"))
        path.write_text(text, encoding="utf-8")
    assert "n\u0303" in text
    decomposed = examine(config, version, baseline=True).scores
    assert decomposed.to_dict() == composed.to_dict()
    for task, rows in composed.ranks.items():
        for row, ranks in rows.items():
            assert torch.equal(decomposed.ranks[task][row], ranks)


def test_the_student_is_scored_in_the_teachers_space(tested: Settings, version: Path) -> None:
    """Against the plain way: encode, project, compare."""
    ranks = examine(tested, version, task="retrieval").scores.ranks["retrieval"]
    assert set(ranks) == {"student", "ceiling"}
    teacher = Teacher.load(tested.teacher.architecture)
    student, tokenizer = load_student(version / "student")
    folder = Path(str(tested.benchmarks.captions))
    names = (folder / "test_image_names.txt").read_text(encoding="utf-8").split()
    paths = [Path(str(tested.benchmarks.images)) / name.split("_")[1] / name for name in names]
    pictures = teacher.encode_images(paths)
    lines = {
        c: (folder / f"test_1kcaptions_{c}.txt").read_text(encoding="utf-8").splitlines()
        for c in ("en", "es")
    }
    vectors = {
        "student": functional.normalize(student.encode(tokenizer, lines["es"]), dim=1),
        "ceiling": functional.normalize(torch.from_numpy(teacher.encode_texts(lines["en"])), dim=1),
    }
    for row, texts in vectors.items():
        table = texts @ pictures.T
        expected = (table > table.diagonal()[:, None]).sum(dim=1)
        assert ranks[row].tolist() == expected.tolist()


@pytest.mark.parametrize(("task", "expected"), [("retrieval", ["retrieval"]), ("accuracy", ["accuracy"])])
def test_one_task(tested: Settings, version: Path, task: Any, expected: list[str]) -> None:
    assert list(examine(tested, version, task=task).scores.ranks) == expected


def test_baselines_without_a_student(tested: Settings) -> None:
    assert examine(tested, None, baseline=True).scores.rows == ("ceiling", "teacher_es")


def test_progress_names_the_language_of_the_texts(
    tested: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("themo.process.progress.SECONDS_BETWEEN_LINES", 0.0)
    examine(tested, None, baseline=True)
    lines = [line.partition(":")[0] for line in capsys.readouterr().err.splitlines()]
    texts = [line for line in lines if "texts" in line]
    assert texts == ["Encoding English texts", "Encoding texts in 'es' with the teacher"] * 2


def test_a_report_keeps_the_sizes_of_the_last_test(version: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("themo.tracking.runs.Tracking", MagicMock())
    assert main(["test", "--version-path", str(version), "--sizes"]) == 0
    before = read_scores(version / "test.json")
    assert list(before["sizes"]) == ["student"]
    assert main(["report", str(version)]) == 0
    assert read_scores(version / "test.json") == before
    assert "Sizes: quality against cost" in (version / "report.html").read_text(encoding="utf-8")


def test_a_report_keeps_the_baselines_of_the_last_test(
    version: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("themo.tracking.runs.Tracking", MagicMock())
    assert main(["report", str(version)]) == 0
    assert "teacher_es" not in read_scores(version / "test.json")
    assert main(["test", "--version-path", str(version), "--baseline"]) == 0
    before = read_scores(version / "test.json")
    assert "teacher_es" in before
    assert main(["report", str(version)]) == 0
    assert read_scores(version / "test.json") == before


@pytest.fixture
def foreign(tested: Settings, tmp_path: Path, tiny_teacher: Path) -> Settings:
    """Settings that name a toy Multilingual-CLIP and a toy translator."""
    return tested.override(
        {
            "mclip": str(write_mclip(tmp_path / "toys")),
            "mclip_architecture": str(tiny_teacher),
            "translator": str(write_marian(tmp_path / "marian")),
        }
    )


def test_all_baselines(foreign: Settings, version: Path) -> None:
    scores = examine(foreign, version, baseline=True).scores
    assert scores.rows == ("student", "ceiling", "mclip", "translated", "teacher_es")
    captions = Path(str(foreign.benchmarks.captions)) / "test_1kcaptions_es.txt"
    spanish = captions.read_text(encoding="utf-8").splitlines()
    names = (captions.parent / "test_image_names.txt").read_text(encoding="utf-8").split()
    teacher = Teacher.load(foreign.teacher.architecture)
    images = Path(str(foreign.benchmarks.images))
    pictures = teacher.encode_images([images / name.split("_")[1] / name for name in names])
    english = Translator.load(str(foreign.benchmarks.translator)).translate(spanish)
    vectors = {
        "mclip": MClip.load(str(foreign.benchmarks.mclip)).encode(spanish),
        "translated": torch.from_numpy(teacher.encode_texts(english)),
        "teacher_es": torch.from_numpy(teacher.encode_texts(spanish)),
    }
    for row, texts in vectors.items():
        expected = ranks_by_cosine(texts, pictures, torch.arange(N_IMAGES))
        assert scores.ranks["retrieval"][row].tolist() == expected.tolist()
    differences = scores.to_dict()["differences"]
    assert set(differences) == set(vectors)
    gain, low, high = differences["mclip"]["retrieval@01"]
    shares = [scores.share(row, "retrieval", 1) for row in ("student", "mclip")]
    assert gain == pytest.approx(shares[0] - shares[1])
    assert low <= gain <= high


def test_translations_are_kept(foreign: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    first = examine(foreign, None, baseline=True).scores.to_dict()

    def refuse(*_: object) -> Translator:
        raise AssertionError("the translator was loaded again")

    monkeypatch.setattr(Translator, "load", refuse)
    assert examine(foreign, None, baseline=True).scores.to_dict() == first


def test_a_baseline_of_another_image_tower(foreign: Settings, tmp_path: Path, tiny_teacher: Path) -> None:
    folder = shutil.copytree(tiny_teacher, tmp_path / "wide")
    config = json.loads((folder / "open_clip_config.json").read_text(encoding="utf-8"))
    config["model_cfg"]["embed_dim"] = 13
    (folder / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
    weights = load_file(folder / "open_clip_model.safetensors")
    weights["text_projection"] = torch.zeros(16, 13)
    weights["visual.proj"] = torch.zeros(16, 13)
    save_file(weights, folder / "open_clip_model.safetensors")
    with pytest.raises(
        InputError, match=r"benchmarks\.mclip .*: its vectors must have the 13 dimensions of .*, got 12"
    ):
        examine(foreign.override({"mclip_architecture": str(folder)}), None, baseline=True)


def test_a_student_of_states_is_projected(
    settings: SettingsFactory, images: dict[str, str], tmp_path: Path
) -> None:
    from themo.data.preparation import prepare_data

    config = settings(**images, target="state")
    train(config, prepare_data(config), report=lambda last: last.save(tmp_path / "version"))
    assert examine(config, tmp_path / "version").scores.rows == ("student", "ceiling")
    with pytest.raises(InputError, match="student's vectors must have the teacher's 12 dimensions, got 16"):
        examine(config.override({"target": "embedding"}), tmp_path / "version")


def test_image_vectors_are_kept_until_an_image_changes(tested: Settings) -> None:
    cache = Path(tested.paths.cache_dir)
    first = examine(tested, None, task="retrieval").scores.to_dict()
    entries = set(cache.glob("images-*"))
    assert len(entries) == 1
    assert examine(tested, None, task="retrieval").scores.to_dict() == first
    assert set(cache.glob("images-*")) == entries
    image = next(Path(str(tested.benchmarks.images)).rglob("*.jpg"))
    later = time.time() + 10
    os.utime(image, (later, later))
    examine(tested, None, task="retrieval")
    assert len(set(cache.glob("images-*"))) == 2


def test_a_truncated_image(tested: Settings) -> None:
    image = next(Path(str(tested.benchmarks.images)).rglob("*.jpg"))
    os.truncate(image, 300)
    with pytest.raises(InputError) as caught:
        examine(tested, None)
    assert str(caught.value).startswith(f"{image}: ")
    assert len(str(caught.value).splitlines()) == 1
    assert not list(Path(tested.paths.cache_dir).glob("images-*"))


def test_no_test_data(settings: SettingsFactory, tested: Settings) -> None:
    with pytest.raises(InputError, match="benchmarks: must name test data for --task all, got none"):
        examine(settings(), None)
    only = tested.override({"imagenet": None, "prompts": None})
    with pytest.raises(InputError, match="for --task accuracy, got none"):
        examine(only, None, task="accuracy")
    with pytest.raises(InputError, match=r"^benchmarks\.captions: no such file or folder: nosuch$"):
        examine(tested.override({"captions": "nosuch"}), None)


def test_missing_images_are_named_with_the_fetch_command(tested: Settings, version: Path) -> None:
    image = min(Path(str(tested.benchmarks.images)).rglob("*.jpg"))
    image.unlink()
    with pytest.raises(InputError, match=rf"1 of {N_IMAGES} images are missing: \S*{image.name}$"):
        examine(tested, None)
    fetched = tested.override({"images_source": "http://127.0.0.1:9/coco.tar.gz"})
    with pytest.raises(
        InputError, match=rf"{image.name}; `python -m themo prepare --tests`, with this test's"
    ):
        examine(fetched, None)
    config = version / "config.yaml"
    with pytest.raises(InputError, match=rf"`python -m themo prepare --tests --config {config}` fetches"):
        examine(fetched, version)
    assert load(config).benchmarks.captions == tested.benchmarks.captions


def test_classes_by_names_and_templates(tested: Settings, version: Path, tmp_path: Path) -> None:
    synsets = [f"n0000000{i}" for i in range(N_CLASSES)]
    rows = [f"{s}\t{en}\t{es}" for s, (en, es) in zip(synsets, NOUNS.items(), strict=False)]
    write_lines(tmp_path / "names.tsv", ["synset\ten\tes", *rows])
    write_lines(tmp_path / "templates.tsv", ["en\tes", "the {}\tel {}"])
    own = {"class_names": str(tmp_path / "names.tsv"), "templates": str(tmp_path / "templates.tsv")}
    named = tested.override({"prompts": None, **own})
    scores = [examine(of, version, task="accuracy").scores.to_dict() for of in (tested, named)]
    assert scores[0] == scores[1]  # the very sentences of prompts.tsv
    write_lines(tmp_path / "templates.tsv", ["en\tes", "the {}\tel {}", "a big {}\tun gran {}"])
    assert examine(named, version, task="accuracy").scores.to_dict()["n"] == {"accuracy": 2 * N_CLASSES}


def test_a_student_of_own_targets_has_no_images(tested: Settings, version: Path, tmp_path: Path) -> None:
    own = tested.override({"targets": str(tmp_path / "own.npy")})
    with pytest.raises(
        InputError, match=r"must have a teacher to be tested on images, but was trained on data\.targets"
    ):
        examine(own, version)


def test_a_version_without_student(tested: Settings, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must be a version directory, but has no student/"):
        examine(tested, tmp_path)
