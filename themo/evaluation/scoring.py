"""Text encoders on test sets: student, ceiling and baselines are scored by the same functions.

A text encoder is any callable from sentences to vectors, an image encoder any callable from files to vectors.

Shape suffixes: T captions, P prompts, C classes, D classes whose prompts differ, I images, E embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch

from themo.data.caption_sets import CaptionSet
from themo.data.imagenet import ImageNet
from themo.data.xtd10 import Xtd10
from themo.errors import InputError
from themo.evaluation.both_directions import score_set
from themo.evaluation.equal_prompts import EqualPrompts, equal_prompts, first_equal
from themo.evaluation.metrics import Found, find_by_cosine, unit
from themo.evaluation.score_names import ACCURACY, RESERVED, RETRIEVAL
from themo.evaluation.scores import N_FOUND, Scores

TextEncoder = Callable[[Sequence[str]], torch.Tensor]
"""N sentences to (N, E) floating vectors of any length, in the image vectors' space."""

ImageEncoder = Callable[[Sequence[Path]], torch.Tensor]
"""I image files to (I, E) floating vectors of any length."""


class Row(NamedTuple):
    """A scored encoder: a text encoder, its language and its image tower."""

    encode: TextEncoder
    language: str
    """Language code of the captions and prompts: "es" for the student, "en" for the ceiling."""
    images: ImageEncoder
    """Image encoder; one that several rows share is called once."""


def _find_images(
    encode: TextEncoder,
    captions: Sequence[str],
    image_vectors_IE: torch.Tensor,
    image_of_text: torch.Tensor,
) -> Found:
    """Rank all images (I, E) for each of T captions by cosine; (T,) int64 is the one right image of each.

    Raises:
        ValueError: If shapes disagree.
        FloatingPointError: If a vector is not finite: a broken encoder has no score.
    """
    _check_finite(image_vectors_IE, "image")
    return find_by_cosine(_encode(encode, captions), image_vectors_IE, image_of_text, N_FOUND)


def _find_classes(
    encode: TextEncoder,
    prompts: Sequence[Sequence[str]],
    image_vectors_IE: torch.Tensor,
    class_of_image: torch.Tensor,
) -> Found:
    """Rank all classes for each of I images (I, E) by cosine with the classes' prompts.

    Each class has one or more prompts. A class is the mean of its prompts' unit vectors, as in CLIP's prompt
    ensembling (Radford et al., 2021, "Learning Transferable Visual Models From Natural Language Supervision",
    section 3.1.4). Classes with equal prompts are one class, found under the number of the first of them.

    Raises:
        ValueError: If shapes disagree or a class has no prompt.
        FloatingPointError: If a vector is not finite.
    """
    n_prompts_C = torch.tensor([len(of_class) for of_class in prompts])
    if (n_prompts_C == 0).any():
        raise ValueError(f"every class needs a prompt, class {int(n_prompts_C.argmin())} has none")
    _check_finite(image_vectors_IE, "image")
    prompts_PE = unit(_encode(encode, [prompt for of_class in prompts for prompt in of_class]))
    number_D, different_C = torch.tensor(first_equal(prompts)).unique(return_inverse=True)
    different_of_prompt = different_C.repeat_interleave(n_prompts_C).to(prompts_PE.device)
    # sums instead of means: the cosine does not depend on the length
    classes_DE = prompts_PE.new_zeros(len(number_D), prompts_PE.shape[1])
    classes_DE.index_add_(0, different_of_prompt, prompts_PE)
    found = find_by_cosine(image_vectors_IE, classes_DE, different_C[class_of_image], N_FOUND)
    return Found(found.ranks, number_D[found.first])


def _encode(encode: TextEncoder, texts: Sequence[str]) -> torch.Tensor:
    vectors_NE = encode(texts)
    if vectors_NE.ndim != 2 or vectors_NE.shape[0] != len(texts):
        raise ValueError(
            f"a text encoder must give one row per text, got {tuple(vectors_NE.shape)} for {len(texts)}"
        )
    _check_finite(vectors_NE, "text")
    return vectors_NE


def _check_finite(vectors_NE: torch.Tensor, kind: str) -> None:
    broken = int((~torch.isfinite(vectors_NE).all(dim=-1)).sum())
    if broken:
        raise FloatingPointError(f"{broken:,} of {vectors_NE.shape[0]:,} {kind} vectors are NaN or infinite")


def evaluate(
    rows: Mapping[str, Row],
    xtd10: Xtd10 | None = None,
    imagenet: ImageNet | None = None,
    caption_sets: Sequence[CaptionSet] = (),
) -> Scores:
    """Score each row on the test sets given: retrieval on XTD10, accuracy on ImageNet.

    Args:
        rows: Name to `Row`, in the order of the table. "student" and "ceiling" together give a retention.
        xtd10: None leaves retrieval out.
        imagenet: None leaves accuracy out.
        caption_sets: Sets to score in both directions.

    Raises:
        InputError: If a test set has no texts in a row's language.
        ValueError: If a row has a reserved name, or nothing is to be scored.
        FloatingPointError: If an encoder gives NaN or infinity.
    """
    reserved = sorted(set(rows) & set(RESERVED))
    if reserved:
        raise ValueError(f"a row must not be called {', '.join(RESERVED)}, got {reserved[0]!r}")
    if not rows or (xtd10 is None and imagenet is None and not caption_sets):
        raise ValueError("nothing to score: needs a row and a test set")
    # check all languages before any encoder runs for an hour
    captions = _in_languages(xtd10.captions, rows, "XTD10's captions") if xtd10 else {}
    prompts = _in_languages(imagenet.prompts, rows, "ImageNet's prompts") if imagenet else {}
    texts_of_sets = [_in_languages(each.captions, rows, f"{each.title}'s captions") for each in caption_sets]
    readers = {name: cache(row.encode) for name, row in rows.items()}  # two test sets may share captions
    equal: dict[str, tuple[EqualPrompts, ...]] = {}
    found: dict[str, dict[str, Found]] = {}
    if xtd10 is not None:
        vectors = _image_vectors(rows, xtd10.images)
        right = torch.tensor(xtd10.image_of_caption)
        found[RETRIEVAL] = {
            name: _find_images(readers[name], captions[name], vectors[row.images], right)
            for name, row in rows.items()
        }
    if imagenet is not None:
        vectors = _image_vectors(rows, imagenet.images)
        right = torch.tensor(imagenet.class_of_image)
        found[ACCURACY] = {
            name: _find_classes(row.encode, prompts[name], vectors[row.images], right)
            for name, row in rows.items()
        }
        languages = dict.fromkeys(row.language for row in rows.values())
        equal = {language: equal_prompts(imagenet, language) for language in languages}
    sets = {}
    for each, texts in zip(caption_sets, texts_of_sets, strict=True):
        vectors = _image_vectors(rows, each.images)
        sets[each.key] = score_set(
            each,
            {name: row.language for name, row in rows.items()},
            {name: _encode(readers[name], texts[name]) for name in rows},
            {name: vectors[row.images] for name, row in rows.items()},
        )
    return Scores(
        {task: {name: of_row.ranks for name, of_row in of_task.items()} for task, of_task in found.items()},
        {task: {name: of_row.first for name, of_row in of_task.items()} for task, of_task in found.items()},
        {language: classes for language, classes in equal.items() if classes},
        sets,
    )


def _image_vectors(rows: Mapping[str, Row], paths: Sequence[Path]) -> dict[ImageEncoder, torch.Tensor]:
    return {encode: encode(paths) for encode in dict.fromkeys(row.images for row in rows.values())}


Texts = TypeVar("Texts")


def _in_languages(texts: Mapping[str, Texts], rows: Mapping[str, Row], what: str) -> dict[str, Texts]:
    for name, row in rows.items():
        if row.language not in texts:
            raise InputError(
                f"{what}: must be in the language of {name!r}, got {', '.join(texts)} but not {row.language}"
            )
    return {name: texts[row.language] for name, row in rows.items()}
