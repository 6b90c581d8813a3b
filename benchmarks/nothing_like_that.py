"""How well a chance distinguishes present from absent subjects, with the student of the miniature's preset.

    python -m benchmarks nothing_like_that

A subject is a shape of a colour, one object in a picture. In each round the 80 subjects are halved at random:
a cutoff is calibrated on one half and measured on the other. Half of each half is present in the folder, with
12 pictures per subject; the others are absent. The calibrated cutoff lies midway between two scores: 95 % of
the relevant pictures are above the first, and the best pictures of 95 % of the absent subjects are below the
second. A query is a random Spanish sentence about its subject. A false hit is an absent subject
with any picture above the cutoff.

Also measured: the shipped cutoff; the same rounds by cosine alone; folders of one picture per subject;
reference texts without the measured half; captions of scenes with two groups of objects.
"""

from __future__ import annotations

import random
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.measure import Goal, Options, Row
from benchmarks.miniature_version import picture_paths, trained_model
from themo.data.sources import Sources
from themo.data.text_lines import read_lines
from themo.image_search.chance import Calibration
from themo.image_search.matches import CUTOFF
from themo.image_search.references import References, load_references
from themo.miniature.grammar import Content, Group, spanish_sentence
from themo.miniature.lexicon import COLOURS, N_COMBINATIONS
from themo.miniature.pictured import pictured_scenes
from themo.miniature.scenes import World
from themo.model import Model

ROUNDS = 20
KEPT, FALSE = Goal(0.95), Goal(0.05 + 1e-9, "<")
"""Goals: at least 95 % of relevant pictures kept, at most 5 % of absent subjects with a hit."""
Floats = npt.NDArray[np.float32]
Measure = Callable[[Floats, Floats], Floats]
"""Returns the (n,) scores of pictures for a query: chances, or cosines."""


@dataclass(frozen=True)
class Subjects:
    """Pictures of subjects, and a query for each.

    Attributes:
        queries_SE: A vector of length 1 for each of S subjects.
        pictures_NE: Vectors of length 1 of N pictures.
        subject_N: The subject of each picture.
    """

    queries_SE: Floats
    pictures_NE: Floats
    subject_N: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Outcome:
    """A round's result.

    Attributes:
        cutoff: The cutoff.
        kept: Share of relevant pictures above it.
        false_hits: Share of absent subjects with a picture above it.
        false_pictures: Share of pictures above it, of all pictures for absent subjects.
    """

    cutoff: float
    kept: float
    false_hits: float
    false_pictures: float


def run(options: Options) -> list[Row]:
    """Rows for the calibrated and the shipped cutoff, cosines, small folders, missing references, scenes."""
    with tempfile.TemporaryDirectory() as folder:
        model = trained_model(Path(folder), options.seed)
        return measured(model, options.seed)


def measured(model: Model, seed: int) -> list[Row]:
    """The rows of `run` for a given student."""
    references = load_references(model)
    by_chance = Calibration.of(references).chances
    objects, scenes = _objects(model, seed), _scenes(model)
    few = Subjects(objects.queries_SE, objects.pictures_NE[::12], objects.subject_N[::12])
    return [
        *_rows("cutoff of the other half", _rounds(objects, by_chance, seed), seed, (KEPT, FALSE)),
        *_rows("shipped cutoff", _rounds(objects, by_chance, seed, CUTOFF), seed, (KEPT, FALSE)),
        *_rows("cosine, cutoff of the other half", _rounds(objects, _cosines, seed), seed),
        *_rows("shipped cutoff, 40 pictures", _rounds(few, by_chance, seed, CUTOFF), seed),
        *_rows("shipped cutoff, half the references", _rounds(objects, references, seed, CUTOFF), seed),
        *_rows("scenes, cutoff of the other half", _rounds(scenes, by_chance, seed), seed),
        *_rows("scenes, cosine, cutoff of the other half", _rounds(scenes, _cosines, seed), seed),
    ]


def _cosines(query_E: Floats, pictures_ME: Floats) -> Floats:
    cosines: Floats = pictures_ME @ query_E
    return cosines


def _rounds(
    subjects: Subjects, measure: Measure | References, seed: int, cutoff: float | None = None
) -> list[Outcome]:
    """Return the outcomes; reference texts in place of a measure lack those of the measured half."""
    outcomes = []
    for number in range(ROUNDS):
        order = np.random.default_rng([seed, number]).permutation(len(subjects.queries_SE))
        calibrated, other = order[: len(order) // 2], order[len(order) // 2 :]
        present = np.concatenate([half[: len(half) // 2] for half in (calibrated, other)])
        chances = measure
        if isinstance(chances, References):
            chances = Calibration.of(References(chances.vectors_RE[calibrated], chances.logit_scale)).chances
        outcomes.append(_round(subjects, chances, (calibrated, other), present, cutoff))
    return outcomes


def _round(
    subjects: Subjects,
    measure: Measure,
    halves: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
    present: npt.NDArray[np.int64],
    cutoff: float | None,
) -> Outcome:
    rows = np.flatnonzero(np.isin(subjects.subject_N, present))
    folder_ME, shown_M = subjects.pictures_NE[rows], subjects.subject_N[rows]
    scores_SM = np.stack([measure(query_E, folder_ME) for query_E in subjects.queries_SE])
    relevant_SM = np.arange(len(scores_SM))[:, None] == shown_M
    calibrated, other = halves
    if cutoff is None:
        relevant = scores_SM[calibrated][relevant_SM[calibrated]]
        best = scores_SM[calibrated[~np.isin(calibrated, present)]].max(axis=1)
        cutoff = float(np.quantile(relevant, 0.05) + np.quantile(best, 0.95)) / 2
    absent = other[~np.isin(other, present)]
    hits_AM = scores_SM[absent] >= cutoff
    kept = scores_SM[other][relevant_SM[other]] >= cutoff
    return Outcome(cutoff, float(kept.mean()), float(hits_AM.any(axis=1).mean()), float(hits_AM.mean()))


def _objects(model: Model, seed: int) -> Subjects:
    """Pictures of one object each, and a random sentence about each shape and colour."""
    paths = picture_paths(Sources(model.settings), "test/imagenet/ILSVRC")
    words = random.Random(f"sentences {seed}")
    groups = [Group(number // len(COLOURS), 1, number % len(COLOURS)) for number in range(N_COMBINATIONS)]
    queries = [spanish_sentence(Content(group), words.choice) for group in groups]
    subject_N = np.repeat(np.arange(N_COMBINATIONS), len(paths) // N_COMBINATIONS)
    return Subjects(model.encode(queries, normalize=True), model.encode_images(paths), subject_N)


def _scenes(model: Model) -> Subjects:
    """One picture and its caption for each pair of shapes with colours in the test scenes."""
    recipe = model.settings.miniature
    scenes, _ = pictured_scenes(recipe, World(recipe.seed), "test")
    _, firsts = np.unique(np.sort(scenes.combination, axis=1), axis=0, return_index=True)
    paths = picture_paths(Sources(model.settings), "test/mscoco")
    captions = read_lines(paths[0].parents[2] / "xtd10" / "test_1kcaptions_es.txt")
    by_number = sorted(paths, key=lambda path: path.stem[-12:])
    return Subjects(
        model.encode([captions[i] for i in firsts], normalize=True),
        model.encode_images([by_number[i] for i in firsts]),
        np.arange(len(firsts)),
    )


def _rows(
    name: str, outcomes: Sequence[Outcome], seed: int, goals: tuple[Goal | None, Goal | None] = (None, None)
) -> list[Row]:
    def row(what: str, goal: Goal | None, values: list[float], detail: str) -> Row:
        spread = (min(values), max(values))
        return Row(f"{name}: {what}", statistics.fmean(values), "", goal, spread, detail, (seed,))

    cutoff = statistics.fmean(each.cutoff for each in outcomes)
    pictures = statistics.fmean(each.false_pictures for each in outcomes)
    return [
        row(
            "relevant pictures kept",
            goals[0],
            [each.kept for each in outcomes],
            f"mean of {len(outcomes)} rounds; cutoff {cutoff:.3f}",
        ),
        row(
            "absent subjects with a hit",
            goals[1],
            [each.false_hits for each in outcomes],
            f"{100 * pictures:.3f} % of the pictures",
        ),
    ]
