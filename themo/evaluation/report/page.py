"""The report of a test: writes ``report.html`` of the scores into the version directory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from plotly.graph_objects import Figure

from themo.checkpoints.versions import REPORT_FILE
from themo.config.settings import Settings
from themo.data.imagenet import ImageNet
from themo.data.xtd10 import ENGLISH, Xtd10
from themo.errors import InputError
from themo.evaluation.encoders import Examination
from themo.evaluation.equal_prompts import first_equal
from themo.evaluation.report.figures import (
    Share,
    found_by_place,
    quality_against_cost,
    share_of,
    shares,
)
from themo.evaluation.report.html_page import thumbnail, write_page
from themo.evaluation.report.tables import lay_out
from themo.evaluation.score_names import ACCURACY, CEILING, RETRIEVAL, STUDENT
from themo.evaluation.scores import Scores
from themo.miniature.lexicon import COLOURS, LARGEST_COUNT, SHAPES
from themo.miniature.pictured import ATTRIBUTES, agreement, mentions
from themo.miniature.probing import N_SCENES, Reader, distinguished
from themo.miniature.scenes import Scenes
from themo.models.image_files import open_rgb

N_CAPTIONS = 8
"""Number of random captions, and greatest number of worst misses."""
N_SHOWN = 5
"""Number of images shown per caption."""
N_CONFUSIONS = 12
N_EXAMPLES = 4
_TEMPLATE = Path(__file__).parent / "test.html"


@dataclass(frozen=True)
class Picture:
    """A retrieved image.

    Attributes:
        uri: Data URI of a small copy.
        is_right: Whether the caption belongs to it.
    """

    uri: str
    is_right: bool


@dataclass(frozen=True)
class Finds:
    """Images that one encoder retrieves by a caption.

    Attributes:
        text: The caption, in the encoder's language.
        language: Code of this language.
        rank: Place of the right image, from 1.
        pictures: The first images.
        right: The right image if it is not among them.
    """

    text: str
    language: str
    rank: int
    pictures: tuple[Picture, ...]
    right: Picture | None


@dataclass(frozen=True)
class Exhibit:
    """A caption in both languages, with the images of the student and of the teacher."""

    student: Finds
    teacher: Finds


@dataclass(frozen=True)
class Confusion:
    """A class that the student confuses with another.

    Attributes:
        right, taken_for: A prompt of each class in the student's language, and one in English.
        n: Number of the class's images that the student takes for the other class.
        n_images: Number of images of the class.
        n_teacher: Number of the class's images that the teacher, reading English, takes for the other class.
        examples: Some images that the student confuses.
    """

    right: tuple[str, str]
    taken_for: tuple[str, str]
    n: int
    n_images: int
    n_teacher: int
    examples: tuple[str, ...]


def write_report(
    tested: Examination,
    settings: Settings,
    version: Path,
    sizes: Mapping[str, Mapping[str, float]] | None = None,
) -> Path:
    """Write ``report.html`` into a version directory.

    Args:
        tested: Result of a test, with a student among its rows.
        settings: Settings of the version.
        version: Version directory.
        sizes: Forms of the student by name, as in ``test.json``; None or empty: not measured.

    Returns:
        The HTML file.

    Raises:
        InputError: An image is damaged, or the page cannot be written.
    """
    scores, language = tested.scores, settings.benchmarks.language
    path = version / REPORT_FILE
    by_lot: list[Exhibit] = []
    worst: list[Exhibit] = []
    n_misses = 0
    if tested.xtd10 is not None:
        ranks_T = scores.ranks[RETRIEVAL][STUDENT].numpy()
        n_misses = int((ranks_T > 0).sum())
        chosen = np.sort(np.random.default_rng(0).permutation(len(ranks_T))[:N_CAPTIONS])
        by_lot = [_exhibit(scores, tested.xtd10, int(t), language) for t in chosen]
        order = np.argsort(-ranks_T, kind="stable")[: min(N_CAPTIONS, n_misses)]
        worst = [_exhibit(scores, tested.xtd10, int(t), language) for t in order]
    confusions = list(_confusions(scores, tested.imagenet, language)) if tested.imagenet else []
    try:
        write_page(
            path,
            _TEMPLATE,
            _figures(tested) | ({"sizes": quality_against_cost(sizes)} if sizes else {}),
            version_path=version,
            settings=settings,
            language=language,
            written=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M"),
            scores=scores.to_dict(),
            tables=lay_out(scores.to_dict()),
            by_lot=by_lot,
            worst=worst,
            n_misses=n_misses,
            n_shown=N_SHOWN,
            confusions=confusions,
            n_classes=len(tested.imagenet.synsets) if tested.imagenet else 0,
            equal_prompts=scores.equal_prompts,
            n_groups=int((~tested.pictured.scenes.single).sum()) if tested.pictured else 0,
            n_scenes=N_SCENES,
            sizes=sizes or {},
        )
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None
    return path


def _figures(tested: Examination) -> dict[str, Figure]:
    drawn = {"places": found_by_place(tested.scores)} if tested.scores.ranks else {}
    if tested.pictured is not None:
        scenes = tested.pictured.scenes
        drawn["twins"] = shares({"": twin_shares(tested)}, 1, "share of pairs that are distinguished")
        found = {"": attribute_shares(tested.scores, scenes)}
        drawn["attributes"] = shares(found, 1, "share with the attribute right")
        drawn["values"] = shares(value_shares(tested.scores, scenes), 2, "retrieval@01")
    return drawn


def twin_shares(tested: Examination) -> dict[str, list[Share]]:
    """Return how often student and teacher distinguish pictures of scenes that differ in one attribute."""
    if tested.pictured is None:
        raise ValueError("only the miniature has twins")
    rows = {name: tested.rows[name] for name in (STUDENT, CEILING)}
    readers = {name: Reader(row.encode, row.language) for name, row in rows.items()}
    pairs = distinguished(tested.pictured.world, tested.pictured.split, readers, tested.look)
    return {
        name: [Share(kind, int(of[name].sum()), len(of[name])) for kind, of in pairs.items() if len(of[name])]
        for name in readers
    }


def attribute_shares(scores: Scores, scenes: Scenes) -> dict[str, list[Share]]:
    """Return how often the first image of student and teacher has each attribute of the caption right."""
    result = {}
    for row in (STUDENT, CEILING):
        compared = agreement(scenes, scenes[scores.first[RETRIEVAL][row][:, 0].numpy()])
        result[row] = [share_of(name, compared.agrees[name], compared.is_stated[name]) for name in ATTRIBUTES]
    return result


def value_shares(scores: Scores, scenes: Scenes) -> dict[str, dict[str, list[Share]]]:
    """Return retrieval@01 of student and teacher over captions with a shape, colour, count or relation."""
    kinds: dict[str, dict[str, NDArray[np.bool_]]] = {
        "shape": {s.spanish[0].singular: mentions(scenes, "shape", i) for i, s in enumerate(SHAPES)},
        "colour": {c.spanish[0].masculine: mentions(scenes, "colour", i) for i, c in enumerate(COLOURS)},
        "count": {str(n): mentions(scenes, "count", n) for n in range(1, LARGEST_COUNT + 1)},
        "relation": {
            "izquierda, derecha": ~scenes.single & ~scenes.vertical,
            "encima, debajo": ~scenes.single & scenes.vertical,
            "one group only": scenes.single,
        },
    }
    shown = {kind: {v: among for v, among in of.items() if among.any()} for kind, of in kinds.items()}
    return {
        kind: {
            row: [
                share_of(label, scores.hits(row, RETRIEVAL, 1).numpy(), among)
                for label, among in captions.items()
            ]
            for row in (STUDENT, CEILING)
        }
        for kind, captions in shown.items()
    }


def _exhibit(scores: Scores, xtd10: Xtd10, caption: int, language: str) -> Exhibit:
    def finds(row: str, code: str) -> Finds:
        right = xtd10.image_of_caption[caption]
        first = scores.first[RETRIEVAL][row][caption, :N_SHOWN].tolist()
        return Finds(
            text=xtd10.captions[code][caption],
            language=code,
            rank=int(scores.ranks[RETRIEVAL][row][caption]) + 1,
            pictures=tuple(Picture(_small(xtd10.images[i]), i == right) for i in first),
            right=None if right in first else Picture(_small(xtd10.images[right]), True),
        )

    return Exhibit(finds(STUDENT, language), finds(CEILING, ENGLISH))


def _confusions(scores: Scores, imagenet: ImageNet, language: str) -> Iterator[Confusion]:
    class_I = np.asarray(imagenet.class_of_image)
    first_C, first_english_C = (
        np.asarray(first_equal(imagenet.prompts[code])) for code in (language, ENGLISH)
    )
    right_I = first_C[class_I]  # classes with equal prompts are one class, shown as the first of them
    taken_I, teacher_I = (scores.first[ACCURACY][row][:, 0].numpy() for row in (STUDENT, CEILING))
    is_wrong_by_teacher_I = teacher_I != first_english_C[class_I]

    def prompt(number: int) -> tuple[str, str]:
        return imagenet.prompts[language][number][0], imagenet.prompts[ENGLISH][number][0]

    wrong = taken_I != right_I
    pairs = Counter(zip(right_I[wrong].tolist(), taken_I[wrong].tolist(), strict=True))
    for (right, taken), n in sorted(pairs.items(), key=lambda item: (-item[1], item[0]))[:N_CONFUSIONS]:
        images = np.flatnonzero((right_I == right) & (taken_I == taken))
        yield Confusion(
            right=prompt(right),
            taken_for=prompt(taken),
            n=n,
            n_images=int((right_I == right).sum()),
            n_teacher=int(
                ((right_I == right) & is_wrong_by_teacher_I & (teacher_I == first_english_C[taken])).sum()
            ),
            examples=tuple(_small(imagenet.images[i]) for i in images[:N_EXAMPLES]),
        )


@cache
def _small(path: Path) -> str:
    return thumbnail(open_rgb(path))
