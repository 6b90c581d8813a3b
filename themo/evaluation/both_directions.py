"""Scores of a set of captions in both directions: text to image and image to text.

Text to image counts every caption once: its one right image must be among the k best. Image to text counts
every image once (`themo.evaluation.image_to_text`). Mean recall is the mean of recall@1, @5 and @10.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from rich import box
from rich.markup import escape
from rich.table import Table

from themo.data.caption_sets import CaptionSet
from themo.evaluation.image_to_text import ranks_of_own_captions
from themo.evaluation.intervals import Interval, paired_difference, wilson_interval
from themo.evaluation.metrics import hits_of_ranks, ranks_by_cosine, share
from themo.evaluation.score_names import (
    CEILING,
    DIRECTIONS,
    IMAGE_TO_TEXT,
    KS,
    MEAN_RECALL,
    STUDENT,
    TEXT_TO_IMAGE,
    metric_name,
)


@dataclass(frozen=True)
class SetRow:
    """An encoder's ranks on a set.

    Attributes:
        language: Code of the captions that it reads.
        ranks: Direction to (Q,) int64 ranks of the right answers, 0 the best: T captions or I images.
        is_first_caption: (T,) bool, whether a caption is the first one of its image.
    """

    language: str
    ranks: Mapping[str, torch.Tensor]
    is_first_caption: torch.Tensor

    @property
    def first_captions_mean_recall(self) -> float:
        """Mean recall of text to image over the first caption of each image.

        CLIP_benchmark reads Crossmodal-3600 so, and with it the tables that quote its scores.
        """
        ranks = self.ranks[TEXT_TO_IMAGE][self.is_first_caption]
        return sum(share(hits_of_ranks(ranks, k)) for k in KS) / len(KS)

    def share(self, direction: str, k: int) -> float:
        """Return recall@k."""
        return share(hits_of_ranks(self.ranks[direction], k))

    def interval(self, direction: str, k: int) -> Interval:
        """Return the 95 % Wilson interval of `share`; captions of one image count as independent."""
        hits = hits_of_ranks(self.ranks[direction], k)
        return wilson_interval(int(hits.sum()), hits.numel())

    def mean_recall(self, direction: str) -> float:
        """Return the mean of recall@1, @5 and @10."""
        return sum(self.share(direction, k) for k in KS) / len(KS)

    def to_dict(self) -> dict[str, Any]:
        """Return the row of ``test.json``: language, number of captions, shares and mean recalls by name."""
        values: dict[str, Any] = {"language": self.language, "captions": self.ranks[TEXT_TO_IMAGE].numel()}
        for direction in DIRECTIONS:
            values |= {metric_name(direction, k): self.share(direction, k) for k in KS}
            values[f"{direction}_{MEAN_RECALL}"] = self.mean_recall(direction)
        return values | {f"first_captions_{MEAN_RECALL}": self.first_captions_mean_recall}


@dataclass(frozen=True)
class SetScores:
    """The rows of one set.

    Attributes:
        title: Name of the set in tables.
        n_images: Number of images.
        rows: Name of each encoder to its ranks.
    """

    title: str
    n_images: int
    rows: Mapping[str, SetRow]

    def to_dict(self) -> dict[str, Any]:
        """Return the set's part of ``test.json``.

        Returns:
            "title", "images"; "rows" with shares, mean recalls, language and number of captions of each row;
            "ci95" with ``[low, high]`` per row and share; "differences" with ``[student - row, low, high]``
            per row that reads the student's captions, for shares.
        """
        cells = [(direction, k) for direction in DIRECTIONS for k in KS]
        return {
            "title": self.title,
            "images": self.n_images,
            "rows": {name: row.to_dict() for name, row in self.rows.items()},
            "ci95": {
                name: {metric_name(*cell): list(row.interval(*cell)) for cell in cells}
                for name, row in self.rows.items()
            },
            "differences": {
                name: {metric_name(*cell): self._difference(name, *cell) for cell in cells}
                for name in self._compared()
            },
        }

    def _compared(self) -> Iterator[str]:
        """Yield the rows that the student is compared with, query by query."""
        student = self.rows.get(STUDENT)
        for name, row in self.rows.items():
            if student is not None and name not in (STUDENT, CEILING) and row.language == student.language:
                yield name

    def _difference(self, name: str, direction: str, k: int) -> list[float]:
        student, other = (hits_of_ranks(self.rows[row].ranks[direction], k) for row in (STUDENT, name))
        return list(paired_difference(student, other))


def score_set(
    captions: CaptionSet,
    languages: Mapping[str, str],
    texts: Mapping[str, torch.Tensor],
    images: Mapping[str, torch.Tensor],
) -> SetScores:
    """Score encoders on a set.

    Args:
        captions: The set.
        languages: Row to the code of its captions.
        texts: Row to its (T, E) caption vectors.
        images: Row to the (I, E) image vectors in the same space.
    """
    rows = {}
    for name, code in languages.items():
        right = captions.image_of_caption[code]
        ranks = {
            TEXT_TO_IMAGE: ranks_by_cosine(texts[name], images[name], torch.tensor(right)).cpu(),
            IMAGE_TO_TEXT: ranks_of_own_captions(images[name], texts[name], right),
        }
        first_of_image = {image: i for i, image in reversed(list(enumerate(right)))}
        is_first = torch.tensor([first_of_image[image] == i for i, image in enumerate(right)])
        rows[name] = SetRow(code, ranks, is_first)
    return SetScores(captions.title, len(captions.images), rows)


def table_of_sets(sets: Mapping[str, SetScores]) -> Table:
    """Return the table of sets: directions by rows, @01 @05 @10 with 95 % intervals, and mean recall."""
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,  # 60 columns hold four columns of numbers
        caption="mean: of recall @01, @05 and @10",
        caption_justify="left",
    )
    table.add_column("", overflow="fold")
    for heading in (*(f"@{k:02d}" for k in KS), "mean"):
        table.add_column(heading)
    for of_set in sets.values():
        for direction in DIRECTIONS:
            table.add_row(f"[bold]{escape(of_set.title)}: {direction.replace('_', ' ')}[/]")
            for name, row in of_set.rows.items():
                cells = [_cell(row, direction, k) for k in KS]
                table.add_row(f"  {escape(name)}", *cells, f"{row.mean_recall(direction):.3f}")
    return table


def _cell(row: SetRow, direction: str, k: int) -> str:
    low, high = row.interval(direction, k)
    return f"{row.share(direction, k):.3f}\n[dim]{low:.3f}–{high:.3f}[/]"
