"""Evaluation of the miniature's teacher: retrieval, classification, pairs of pictures with one difference.

    python -m benchmarks.miniature_teacher [--folder FOLDER] [--json]

Builds the default world in a temporary folder (minutes) unless you give the folder of a built world. Pictures
and captions of the sets come from its files; 1,000 pairs of each kind are drawn from the test split. A pair
is right when each of its two captions is nearer to its own picture than to the other (chance: 0.25).
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import open_clip
import torch
from PIL import Image

from benchmarks.measure import Goal, Options, Row
from themo.config.miniature import MiniatureRecipe
from themo.miniature.building import build
from themo.miniature.drawing import draw, place
from themo.miniature.grammar import english_sentence
from themo.miniature.scenes import Scenes, World
from themo.miniature.teaching import normalised
from themo.miniature.twins import Kind, differ, twins
from themo.miniature.vocabulary import CONTEXT_LENGTH, encoder

N_PAIRS = 1_000
"""Pairs drawn for each kind of twins; pairs without a twin in the test split are left out."""

GOALS = {"test R@1": Goal(0.981), "accuracy@1": Goal(0.978), "build, seconds": Goal(180, "<")}
"""The build time is for two idle cores."""


class BuiltTeacher:
    """The teacher of a built world, as open_clip loads it."""

    def __init__(self, folder: Path) -> None:
        model, self._transform = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
        self._model: Any = model.eval()
        self._encode = encoder(folder / "bpe.txt.gz")

    @torch.inference_mode()
    def texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Return (T, D) vectors of length 1."""
        tokens_TL = self._encode(texts)
        padded_TL = torch.nn.functional.pad(tokens_TL, (0, CONTEXT_LENGTH - tokens_TL.shape[1]))
        vectors: torch.Tensor = self._model.encode_text(padded_TL, normalize=True)
        return vectors

    @torch.inference_mode()
    def files(self, paths: Sequence[Path]) -> torch.Tensor:
        """Return (I, D) vectors of length 1 of picture files, through open_clip's transform."""
        pictures = []
        for path in paths:
            with Image.open(path) as picture:
                pictures.append(self._transform(picture))
        vectors: torch.Tensor = self._model.encode_image(torch.stack(pictures), normalize=True)
        return vectors

    @torch.inference_mode()
    def scenes(self, scenes: Scenes, rng: np.random.Generator) -> torch.Tensor:
        """Return (N, D) vectors of length 1 of freshly drawn pictures."""
        pictures = torch.from_numpy(draw(scenes, place(scenes, rng))).permute(0, 3, 1, 2)
        vectors: torch.Tensor = self._model.encode_image(normalised(pictures), normalize=True)
        return vectors


def retrieval(teacher: BuiltTeacher, folder: Path) -> dict[str, float]:
    """Return R@1, R@5 and R@10 from English captions to pictures, one right picture per caption."""
    names = (folder / "xtd10" / "test_image_names.txt").read_text(encoding="utf-8").splitlines()
    captions = (folder / "xtd10" / "test_1kcaptions_en.txt").read_text(encoding="utf-8").splitlines()
    images_ID = teacher.files([folder / "mscoco" / name.split("_")[1] / name for name in names])
    scores_TI = teacher.texts(captions) @ images_ID.T
    rank_T = (scores_TI > scores_TI.diag()[:, None]).sum(dim=1)
    return {f"R@{k}": (rank_T < k).float().mean().item() for k in (1, 5, 10)}


def classification(teacher: BuiltTeacher, folder: Path) -> float:
    """Return accuracy@1 over the classes; a class is the mean of its English prompts."""
    sentences: dict[str, list[str]] = {}
    with (folder / "prompts.tsv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            sentences.setdefault(row["synset"], []).append(row["en"])
    classes_CD = torch.stack([teacher.texts(texts).mean(dim=0) for texts in sentences.values()])
    classes_CD = torch.nn.functional.normalize(classes_CD, dim=-1)
    with (folder / "LOC_val_solution.csv").open(encoding="utf-8", newline="") as file:
        solution = {row["ImageId"]: row["PredictionString"].split()[0] for row in csv.DictReader(file)}
    images = folder / "ILSVRC" / "Data" / "CLS-LOC" / "val"
    images_ID = teacher.files([images / f"{name}.JPEG" for name in solution])
    numbers = {synset: number for number, synset in enumerate(sentences)}
    right_I = torch.tensor([numbers[synset] for synset in solution.values()])
    return ((images_ID @ classes_CD.T).argmax(dim=1) == right_I).float().mean().item()


def pairs_right(teacher: BuiltTeacher, world: World, kind: Kind) -> float:
    """Return the share of twin pairs of the test split that are distinguished."""
    rng, words = np.random.default_rng(0), random.Random(0)
    base = world.random_scenes("test", N_PAIRS, 0, rng)
    others = twins(base, kind, world, rng, "test")
    has_twin = np.flatnonzero(differ(base, others))
    scenes = (base[has_twin], others[has_twin])
    images = [teacher.scenes(part, rng) for part in scenes]
    texts = [
        teacher.texts([english_sentence(part.content(i), words.choice) for i in range(len(part))])
        for part in scenes
    ]
    right = torch.ones(len(has_twin), dtype=torch.bool)
    for own, other in ((0, 1), (1, 0)):
        right &= (texts[own] * images[own]).sum(dim=1) > (texts[own] * images[other]).sum(dim=1)
    return right.float().mean().item()


def measure(folder: Path, recipe: MiniatureRecipe) -> dict[str, float]:
    """Return all figures of a built world by name."""
    teacher = BuiltTeacher(folder / "teacher")
    figures = {f"test {name}": value for name, value in retrieval(teacher, folder / "test").items()}
    figures["validation R@1"] = retrieval(teacher, folder / "validation")["R@1"]
    figures["accuracy@1"] = classification(teacher, folder / "test" / "imagenet")
    figures |= {
        f"unseen pairs {name}": value for name, value in retrieval(teacher, folder / "unseen").items()
    }
    world = World(recipe.seed)
    figures |= {f"twins: {kind}": pairs_right(teacher, world, kind) for kind in get_args(Kind)}
    return figures


def run(options: Options) -> list[Row]:
    """Build the default world, measure it, and compare its teacher with the goals."""
    recipe = MiniatureRecipe(seed=options.seed)
    with tempfile.TemporaryDirectory() as temporary:
        figures = built(recipe, Path(temporary)) | measure(Path(temporary), recipe)
    return [
        Row(
            f"miniature's teacher, {name}",
            value,
            "s" if "second" in name else "share",
            GOALS.get(name),
            seeds=(options.seed,),
        )
        for name, value in figures.items()
    ]


def built(recipe: MiniatureRecipe, folder: Path) -> dict[str, float]:
    """Build a world in an empty folder; return how long it took."""
    start, start_cpu = time.perf_counter(), time.process_time()
    build(recipe, folder)
    return {
        "build, seconds": time.perf_counter() - start,
        "build, CPU seconds": time.process_time() - start_cpu,
    }


def main() -> None:
    """Build if needed, measure, print."""
    parser = argparse.ArgumentParser(description="Evaluate the miniature's teacher.")
    parser.add_argument("--folder", type=Path, help="a world that was built with the default recipe")
    parser.add_argument("--seed", type=int, default=0, help="seed of the recipe (default 0)")
    parser.add_argument("--json", action="store_true", help="print one line of JSON instead of a table")
    options = parser.parse_args()
    recipe = MiniatureRecipe(seed=options.seed)
    if options.folder is not None:
        figures = measure(options.folder, recipe)
    else:
        with tempfile.TemporaryDirectory() as temporary:
            figures = built(recipe, Path(temporary)) | measure(Path(temporary), recipe)
    if options.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:<28} {value:8.3f}")


if __name__ == "__main__":
    main()
