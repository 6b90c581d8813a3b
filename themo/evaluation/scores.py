"""Scores of text encoders on images: student, ceiling and baselines by the same functions.

A text encoder is any callable from sentences to vectors, an image encoder any callable from files to vectors.

Shape suffixes: T captions, P prompts, C classes, D classes whose prompts differ, I images, E embedding.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from rich import box
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from themo.data.caption_sets import CaptionSet
from themo.data.test_sets import ImageNet, Xtd10
from themo.errors import InputError
from themo.evaluation.both_directions import SetScores, score_set, table_of_sets
from themo.evaluation.equal_prompts import EqualPrompts, equal_prompts, first_equal
from themo.evaluation.intervals import (
    Difference,
    Interval,
    lead_above_zero,
    paired_difference,
    wilson_interval,
)
from themo.evaluation.metrics import Found, find_by_cosine, hits_of_ranks, share, unit
from themo.evaluation.score_names import (
    ACCURACY,
    CEILING,
    KS,
    RESERVED,
    RETRIEVAL,
    STUDENT,
    TEST_SETS,
    metric_name,
)

N_FOUND = 10
"""Number of first items stored per query."""
N_NAMED = 3
"""Number of classes with equal prompts that the table names per language; the rest is counted."""
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


@dataclass(frozen=True)
class Scores:
    """Ranks of every query, and statistics of them."""

    ranks: Mapping[str, Mapping[str, torch.Tensor]]
    """Task ("retrieval", "accuracy") to row to (Q,) int64 ranks of the right answers, 0 the best."""
    first: Mapping[str, Mapping[str, torch.Tensor]] = field(default_factory=dict)
    """Task to row to (Q, at most `N_FOUND`) int64: the images or classes found first, the best first.

    Classes with equal prompts are found under the number of the first of them.
    """
    equal_prompts: Mapping[str, tuple[EqualPrompts, ...]] = field(default_factory=dict)
    """Language to its classes with equal prompts; no entry for a language without any."""
    sets: Mapping[str, SetScores] = field(default_factory=dict)
    """Key of each set that was scored in both directions to its scores."""

    def hits(self, row: str, task: str, k: int) -> torch.Tensor:
        """Return (Q,) bool, whether the right answer of each query is among the row's first k."""
        return hits_of_ranks(self.ranks[task][row], k)

    def share(self, row: str, task: str, k: int) -> float:
        """Return recall@k or accuracy@k."""
        return share(self.hits(row, task, k))

    def interval(self, row: str, task: str, k: int) -> Interval:
        """Return the 95 % Wilson interval of `share`, over the choice of test queries."""
        hits = self.hits(row, task, k)
        return wilson_interval(int(hits.sum()), hits.numel())

    def difference(self, first: str, second: str, task: str, k: int) -> Difference:
        """Compare two rows on the same queries: `share` of the first minus that of the second."""
        return paired_difference(self.hits(first, task, k), self.hits(second, task, k))

    def lead_above_zero(self, first: str, second: str, task: str, k: int) -> float | None:
        """Return the least `difference` whose interval lies above 0; None for too few queries."""
        return lead_above_zero(self.hits(first, task, k), self.hits(second, task, k))

    @property
    def rows(self) -> tuple[str, ...]:
        """Names of the rows, in the order given to `evaluate`."""
        return tuple(next(iter(self.ranks.values()), ())) or tuple(next(iter(self.sets.values())).rows)

    @property
    def n(self) -> dict[str, int]:
        """Queries of each task: captions for retrieval, images for accuracy."""
        return {task: next(iter(of_row.values())).numel() for task, of_row in self.ranks.items()}

    @property
    def baselines(self) -> tuple[str, ...]:
        """Rows that the student is compared with; none without a student."""
        return tuple(r for r in self.rows if r not in (STUDENT, CEILING)) if STUDENT in self.rows else ()

    @property
    def retention(self) -> float | None:
        """R@1 of the student over that of the ceiling; None without either, or with a ceiling of 0."""
        if not {STUDENT, CEILING} <= set(self.ranks.get(RETRIEVAL, ())):
            return None
        ceiling = self.share(CEILING, RETRIEVAL, 1)
        return self.share(STUDENT, RETRIEVAL, 1) / ceiling if ceiling else None

    def to_dict(self) -> dict[str, Any]:
        """Return the contents of ``test.json``.

        Returns:
            One dictionary per row, ``{"retrieval@01": share, ..., "accuracy@10": share}``; "n" with the
            queries of each task; "ci95" with ``[low, high]`` per row and metric; "retention" if it exists;
            "differences" with ``[student - row, low, high]`` per baseline and metric, by `difference`;
            "leads_above_0" with the least such lead whose interval lies above 0, or null;
            "equal_prompts" with the classes scored as one, by language, if there are any; "test_sets" with
            `SetScores.to_dict` of each set, if there are any.
        """
        cells = [(task, k) for task in self.ranks for k in KS]
        result: dict[str, Any] = {
            row: {metric_name(task, k): self.share(row, task, k) for task, k in cells} for row in self.rows
        }
        result["n"] = self.n
        result["ci95"] = {
            row: {metric_name(task, k): list(self.interval(row, task, k)) for task, k in cells}
            for row in self.rows
        }
        if self.retention is not None:
            result["retention"] = self.retention
        if self.baselines:
            result["differences"] = {
                row: {metric_name(task, k): list(self.difference(STUDENT, row, task, k)) for task, k in cells}
                for row in self.baselines
            }
            result["leads_above_0"] = {
                row: {metric_name(task, k): self.lead_above_zero(STUDENT, row, task, k) for task, k in cells}
                for row in self.baselines
            }
        if self.equal_prompts:
            result["equal_prompts"] = {
                language: [classes.to_dict() for classes in of_language]
                for language, of_language in self.equal_prompts.items()
            }
        if self.sets:
            result[TEST_SETS] = {key: of_set.to_dict() for key, of_set in self.sets.items()}
        return result

    def to_metrics(self) -> dict[str, float]:
        """Return the shares by MLflow's names: ``test/retrieval@01``; other rows ``test/ceiling/...``.

        Those of a set are called ``test/xm3600/text_to_image@01``, ``test/ceiling/xm3600/...``.
        """
        places = {row: "test" if row == STUDENT else f"test/{row}" for row in self.rows}
        metrics = {
            f"{place}/{metric_name(task, k)}": self.share(row, task, k)
            for row, place in places.items()
            for task in self.ranks
            for k in KS
        }
        for key, of_set in self.sets.items():
            for row, place in places.items():
                numbers = of_set.rows[row].to_metrics()
                metrics |= {f"{place}/{key}/{name}": value for name, value in numbers.items()}
        return metrics

    def to_json(self) -> str:
        """Return `to_dict` as JSON text, ending in a newline."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def to_table(self) -> Table:
        """Return the table that `test` prints: tasks by rows, @01 @05 @10 each with its 95 % interval."""
        caption = "\n".join(self._below_table())
        table = Table(box=box.SIMPLE_HEAD, caption=caption, caption_justify="left", pad_edge=False)
        table.add_column("", overflow="fold")
        for k in KS:
            table.add_column(f"@{k:02d}")  # in a narrow terminal the interval is below the share
        for task, unit_name in ((RETRIEVAL, "captions"), (ACCURACY, "images")):
            if task not in self.ranks:
                continue
            table.add_row(f"[bold]{task.capitalize()}[/]", f"[dim]{self.n[task]:,} {unit_name}[/]")
            for row in self.rows:
                table.add_row(f"  {escape(row)}", *(self._cell(row, task, k) for k in KS))
        return table

    def to_tables(self) -> Group:
        """Return `to_table` and, where sets were scored in both directions, their table."""
        tables = [self.to_table()] if self.ranks else []
        return Group(*tables, *([table_of_sets(self.sets)] if self.sets else []))

    def _below_table(self) -> Iterator[str]:
        """Yield lines that fit the table's width."""
        kept = self.retention
        yield "ranges: 95 % intervals" + (
            "" if kept is None else f"; retention {kept:.3f} (student / ceiling, R@1)"
        )
        for row in self.baselines:
            for task in self.ranks:
                gain, low, high = self.difference(STUDENT, row, task, 1)
                yield (
                    f"student - {escape(row)}, {metric_name(task, 1)}: {gain:+.3f}, {low:+.3f} to {high:+.3f}"
                )
                needed = self.lead_above_zero(STUDENT, row, task, 1)
                yield (
                    f"  the interval lies above 0 from a lead of {needed:+.3f}"
                    if needed is not None
                    else f"  {self.n[task]} queries are too few for an interval above 0"
                )
        for language, of_language in self.equal_prompts.items():
            n_images = sum(classes.n_images for classes in of_language)
            yield f"equal prompts ({language}), scored as one class: {n_images:,} images"
            for prompt, synsets, _ in of_language[:N_NAMED]:
                yield f"  {escape(prompt)}: {', '.join(synsets)}"
            if len(of_language) > N_NAMED:
                yield f"  and {len(of_language) - N_NAMED:,} more; `test --json` lists them"

    def _cell(self, row: str, task: str, k: int) -> str:
        low, high = self.interval(row, task, k)
        return f"{self.share(row, task, k):.3f} [dim]{low:.3f}–{high:.3f}[/]"
