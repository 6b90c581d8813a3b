from __future__ import annotations

import csv
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModel, AutoTokenizer

from themo.config.miniature import MiniatureRecipe
from themo.errors import InputError
from themo.miniature.building import build, class_names, class_prompts
from themo.miniature.teaching import normalised

TINY = MiniatureRecipe(
    corpus_pairs=300,
    validation_pairs=40,
    test_images=20,
    validation_images=10,
    unseen_images=10,
    images_per_class=2,
    teacher_steps=3,
    teacher_families=2,
    teacher_warmup_steps=1,
    student_hidden=32,
    student_layers=1,
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    build(TINY, folder)
    return folder


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def test_equal_recipes_build_equal_worlds_and_seeds_differ(world: Path, tmp_path: Path) -> None:
    again, other = tmp_path / "again", tmp_path / "other"
    for folder, seed in ((again, 0), (other, 1)):
        folder.mkdir()
        build(TINY.model_copy(update={"seed": seed}), folder)
    files = sorted(path.relative_to(world) for path in world.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    different = [file for file in files if (world / file).read_bytes() != (again / file).read_bytes()]
    assert different == []
    assert lines(world / "corpus" / "train.tsv") != lines(other / "corpus" / "train.tsv")


def test_its_files_have_the_rights_of_any_other(world: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.touch()
    rights = {path.stat().st_mode for path in world.rglob("*") if path.is_file()}
    assert rights == {other.stat().st_mode}


def test_the_corpus_holds_pairs_under_a_header(world: Path) -> None:
    for name, n_pairs in (("train", 300), ("validation", 40)):
        header, *rows = [line.split("\t") for line in lines(world / "corpus" / f"{name}.tsv")]
        assert header == ["en", "es"]
        assert len(rows) == n_pairs
        assert all(len(row) == 2 and all(row) for row in rows)


def test_validation_pairs_are_distinguished_by_text(world: Path) -> None:
    rows = lines(world / "corpus" / "validation.tsv")[1:]
    assert len({row.split("\t")[0] for row in rows}) == len(rows)


@pytest.mark.parametrize(("name", "n"), [("test", 20), ("validation", 10), ("unseen", 10)])
def test_retrieval_sets_lie_as_xtd10_over_mscoco(world: Path, name: str, n: int) -> None:
    captions = world / name / "xtd10"
    images = lines(captions / "test_image_names.txt")
    assert len(images) == len(lines(captions / "test_1kcaptions_es.txt")) == n
    assert len(set(lines(captions / "test_1kcaptions_en.txt"))) == n
    assert sum(image.startswith("COCO_train2014_") for image in images) == n * 4 // 5
    for image in images:
        part = image.split("_")[1]
        with Image.open(world / name / "mscoco" / part / image) as picture:
            assert (picture.format, picture.mode, picture.size) == ("JPEG", "RGB", (48, 48))


def test_classification_lies_as_imagenet(world: Path) -> None:
    folder = world / "test" / "imagenet"
    names = dict(line.split(" ", 1) for line in lines(folder / "LOC_synset_mapping.txt"))
    assert len(names) == 80
    assert names["n90000001"] == "red circle, crimson circle, red disc, crimson disc"
    with (folder / "LOC_val_solution.csv").open(encoding="utf-8", newline="") as file:
        solution = {row["ImageId"]: row["PredictionString"].split() for row in csv.DictReader(file)}
    assert len(solution) == 160
    for image, (synset, *box) in solution.items():
        root = ET.parse(folder / f"ILSVRC/Annotations/CLS-LOC/val/{image}.xml").getroot()  # noqa: S314
        assert root.findtext("object/name") == synset
        assert [root.findtext(f"object/bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")] == box
        assert root.findtext("filename") == image
        with Image.open(folder / f"ILSVRC/Data/CLS-LOC/val/{image}.JPEG") as picture:
            assert picture.size == (48, 48)


def test_every_class_has_prompts_in_both_languages(world: Path) -> None:
    header, *rows = [line.split("\t") for line in lines(world / "test" / "imagenet" / "prompts.tsv")]
    assert header == ["synset", "en", "es"]
    assert len(rows) == 240
    assert rows[0] == ["n90000001", "a picture of a red circle", "una imagen de un círculo rojo"]
    assert rows[-1] == ["n90000080", "there is a purple arrow", "hay una flecha morada"]


def test_classes_are_named_by_every_synonym() -> None:
    assert class_names(8 * 4 + 3) == ["yellow star", "golden star"]
    assert class_prompts(8 * 9 + 4)[1] == [
        "una imagen de una flecha naranja",
        "un dibujo de una flecha naranja",
        "hay una flecha naranja",
    ]


def test_open_clip_loads_the_teacher_and_its_preprocessing(world: Path) -> None:
    folder = world / "teacher"
    model, transform = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    weights = load_file(folder / "open_clip_model.safetensors")
    assert {name for name, _ in model.named_parameters()} == set(weights)
    assert torch.equal(model.visual.proj, weights["visual.proj"])
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}", bpe_path=str(folder / "bpe.txt.gz"))
    assert tokenizer(lines(world / "test" / "xtd10" / "test_1kcaptions_en.txt")).shape[1] == 28
    picture = next((world / "test" / "mscoco" / "val2014").iterdir())
    with Image.open(picture) as image:
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
        torch.testing.assert_close(transform(image), normalised(pixels))


def test_the_teacher_can_be_moved(world: Path) -> None:
    assert str(world) not in (world / "teacher" / "open_clip_config.json").read_text(encoding="utf-8")
    for path in (world / "student").iterdir():
        assert str(world) not in path.read_text(encoding="utf-8")


def test_transformers_load_the_student_and_keep_spanish_letters(world: Path) -> None:
    config = AutoConfig.from_pretrained(world / "student")
    tokenizer = AutoTokenizer.from_pretrained(world / "student")
    assert (config.model_type, config.hidden_size, config.num_hidden_layers) == ("bert", 32, 1)
    assert config.hidden_dropout_prob == config.attention_probs_dropout_prob == 0
    encoded = tokenizer(["Un pequeño CORAZÓN azul", "Dos estrellas"], padding=True, return_tensors="pt")
    tokens = tokenizer.convert_ids_to_tokens(encoded["input_ids"][0])
    assert tokens == ["[CLS]", "un", "pequeño", "corazón", "azul", "[SEP]"]
    assert encoded["attention_mask"].tolist()[1] == [1, 1, 1, 1, 0, 0]
    assert config.vocab_size == len(tokenizer)
    assert config.pad_token_id == tokenizer.pad_token_id
    states = AutoModel.from_config(config)(**encoded).last_hidden_state
    assert states.shape == (2, 6, 32)


def test_a_recipe_larger_than_the_world_is_refused(tmp_path: Path) -> None:
    recipe = TINY.model_copy(update={"unseen_images": 100_000})
    with pytest.raises(InputError, match="the split 'unseen' has 25,920 scenes of two groups"):
        build(recipe, tmp_path)
