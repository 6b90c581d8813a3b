"""The sizes of a student, scored side by side: whole, cut to nested widths, and exported to smaller forms.

Shape suffixes: T captions, I images, E dimensions.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich import box
from rich.markup import escape
from rich.table import Table
from tokenizers import Tokenizer
from torch import Tensor

from themo.checkpoints.versions import load_part
from themo.config.settings import Settings
from themo.errors import InputError
from themo.evaluation.encoders import Examination
from themo.evaluation.metrics import hits_of_ranks, ranks_by_cosine, share
from themo.evaluation.score_names import STUDENT
from themo.export.onnx_format import INT8_MODEL, MODEL
from themo.files.weights import SAFE_WEIGHTS
from themo.models.axes import read_axes, shorten
from themo.models.cost import Encode, megabytes, milliseconds_alone
from themo.models.runtimes.graphs import INPUTS, open_graph
from themo.models.static_table import WEIGHTS, load_table
from themo.models.student import load_student
from themo.models.table_folders import is_table

HEAD = "head.json"
"""File of a student's folder, and of an export of the format `transformers`."""
ROUNDS = 5
"""Rounds of the times, each over all forms."""
N_TOGETHER = 256
"""Maximum number of texts of a rate: five rounds take about as long as 1,000 texts once."""
_LEAST_SECONDS = 0.2
"""Minimum duration of a measurement of a rate."""
_BATCH = 64
_WIDTH = "width "
"""Start of the name of a nested width's row."""


@dataclass(frozen=True)
class Size:
    """A form of a student with its quality and cost.

    Attributes:
        retrieval: retrieval@01.
        dimension: Values of a vector.
        megabytes: Files of the text encoder, in MB.
        ms_a_text: Time of one text alone, in milliseconds: the median of `ROUNDS` rounds.
        texts_a_second: Rate of many texts together: the median of the rounds.
        ms_a_text_range: Least and greatest time of a round.
        texts_a_second_range: Least and greatest rate of a round.
    """

    retrieval: float
    dimension: int
    megabytes: float
    ms_a_text: float
    texts_a_second: float
    ms_a_text_range: tuple[float, float]
    texts_a_second_range: tuple[float, float]

    def to_dict(self) -> dict[str, Any]:
        """Return the size as in ``test.json``."""
        values = {
            name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()
        }
        return {"retrieval@01": values.pop("retrieval"), **values}


def refuse_other_folders(folders: Sequence[Path]) -> None:
    """Refuse folders that hold no static table, graph or student.

    Raises:
        InputError: A folder holds none of these.
    """
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"--sizes {folder}: must be the folder of an export, but does not exist")
        if not (is_table(folder) or (folder / MODEL).is_file() or (folder / HEAD).is_file()):
            raise InputError(
                f"--sizes {folder}: must be an export of --format static or --format onnx, or of --format "
                "transformers, but has none"
            )


def names_of(folders: Sequence[Path]) -> dict[Path, str]:
    """Return a distinct name for each folder: its last part, or its path if that part is not distinct.

    The folders ``es``, ``a/it`` and ``b/it`` are named ``es``, ``a/it`` and ``b/it``. A folder ``student`` is
    named ``./student``, since the row ``student`` is the student's.
    """
    n_of_name = Counter(folder.name for folder in dict.fromkeys(folders))
    names = {folder: folder.name if n_of_name[folder.name] == 1 else str(folder) for folder in folders}
    for folder, name in names.items():
        if not name or name == STUDENT or name.startswith(_WIDTH):
            names[folder] = str(folder) if len(folder.parts) > 1 else f"./{folder.name}"
    return names


def measure_sizes(
    tested: Examination, settings: Settings, version: Path, folders: Sequence[Path]
) -> dict[str, Size]:
    """Score a student, its nested widths and its exports on the retrieval set, and time them on this machine.

    Args:
        tested: Result of the version's test, with retrieval.
        settings: Settings of the version.
        version: Version directory.
        folders: Exports of the version: static tables, graphs, folders of transformers.

    Returns:
        A size by name: ``student``, ``width 32``, a folder's name as in `names_of`,
        ``FOLDER/model_int8.onnx``.

    Raises:
        InputError: No retrieval set was tested, or an export is damaged or of another space.
    """
    if tested.xtd10 is None:
        raise InputError("--sizes needs the retrieval test, got --task accuracy")
    captions = tested.xtd10.captions[settings.benchmarks.language]
    right_T = torch.tensor(tested.xtd10.image_of_caption)
    row = tested.rows[STUDENT]
    n_megabytes, axes = load_part(
        version, "student", lambda folder: (megabytes(*folder.iterdir()), read_axes(folder))
    )
    images_IE = row.images(tested.xtd10.images).float().cpu()

    def scored(encode: Encode, size: float, gallery_IE: Tensor = images_IE) -> _Form:
        texts_TE = encode(captions)
        if texts_TE.shape[1] != gallery_IE.shape[1]:
            raise InputError(
                f"--sizes: an export's vectors must have the images' {gallery_IE.shape[1]} dimensions, "
                f"got {texts_TE.shape[1]}"
            )
        recall = share(hits_of_ranks(ranks_by_cosine(texts_TE, gallery_IE, right_T), 1))
        return _Form(encode, recall, texts_TE.shape[1], size)

    def whole(texts: Sequence[str]) -> Tensor:
        return row.encode(texts).float().cpu()

    forms = {STUDENT: scored(whole, n_megabytes)}
    for width in settings.loss.nested_widths or ():
        if axes is None or width >= len(axes):
            continue

        def cut(texts: Sequence[str], width: int = width) -> Tensor:
            return shorten(whole(texts), axes, width)

        gallery = shorten(images_IE, axes, width)
        forms[f"{_WIDTH}{width}"] = scored(cut, forms[STUDENT].megabytes, gallery)
    for folder, row_name in names_of(folders).items():
        for name, encode, size in _forms(folder, row_name):
            forms[name] = scored(encode, size)
    return _timed(forms, captions)


@dataclass(frozen=True)
class _Form:
    """A form before it is timed."""

    encode: Encode
    retrieval: float
    dimension: int
    megabytes: float


def _timed(forms: Mapping[str, _Form], captions: Sequence[str]) -> dict[str, Size]:
    """Time forms in rounds, one form after another in each, so that a busy moment touches all of them."""
    times: dict[str, list[float]] = {name: [] for name in forms}
    rates: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(ROUNDS):
        for name, form in forms.items():
            times[name].append(milliseconds_alone(form.encode, captions))
            rates[name].append(_rate(form.encode, captions[:N_TOGETHER]))
    return {
        name: Size(
            form.retrieval,
            form.dimension,
            form.megabytes,
            statistics.median(times[name]),
            statistics.median(rates[name]),
            (min(times[name]), max(times[name])),
            (min(rates[name]), max(rates[name])),
        )
        for name, form in forms.items()
    }


def _forms(folder: Path, name: str) -> Iterator[tuple[str, Encode, float]]:
    """Yield name, encoder and MB of each form that an export's folder holds."""
    tokenizer = folder / "tokenizer.json"
    if is_table(folder):
        table = load_table(folder)
        yield name, table.encode, megabytes(folder / WEIGHTS, tokenizer)
        return
    if (folder / HEAD).is_file():
        student, words = load_student(folder)
        weights = student.weights_for_encoding()
        files = [folder / file for file in (SAFE_WEIGHTS, HEAD, "head.safetensors", "config.json")]
        yield (
            name,
            lambda texts: student.encode(words, texts, weights=weights),
            megabytes(*files, tokenizer),
        )
    for model in (MODEL, INT8_MODEL):
        if (folder / model).is_file():
            encode = _graph_encoder(folder / model, tokenizer)
            yield f"{name}/{model}", encode, megabytes(folder / model, tokenizer)


def _graph_encoder(model: Path, tokenizer_file: Path) -> Encode:
    session, tokenizer = open_graph(model), Tokenizer.from_file(str(tokenizer_file))

    def encode(texts: Sequence[str]) -> Tensor:
        parts = []
        for start in range(0, len(texts), _BATCH):
            encodings = tokenizer.encode_batch(list(texts[start : start + _BATCH]))
            rows = [[e.ids for e in encodings], [e.attention_mask for e in encodings]]
            inputs = dict(zip(INPUTS, map(np.array, rows), strict=True))
            parts.append(torch.from_numpy(session.run(None, inputs)[0]))
        return torch.cat(parts)

    return encode


def _rate(encode: Encode, texts: Sequence[str]) -> float:
    """Return the number of texts encoded per second."""
    n, start = 0, time.perf_counter()
    while time.perf_counter() - start < _LEAST_SECONDS or not n:
        encode(texts)
        n += len(texts)
    return n / (time.perf_counter() - start)


def _range(ends: tuple[float, float], form: str) -> str:
    return "–".join(format(end, form) for end in ends)


def to_table(sizes: Mapping[str, Size]) -> Table:
    """Return the table that ``test --sizes`` prints."""
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        caption=f"times of this machine: median of {ROUNDS} rounds, range",
    )
    table.add_column("", overflow="fold")
    for name in ("R@1", "values", "MB", "ms per text", "texts/s"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, size in sizes.items():
        table.add_row(
            escape(name),
            f"{size.retrieval:.3f}",
            str(size.dimension),
            f"{size.megabytes:,.2f}",
            f"{size.ms_a_text:.2f} {_range(size.ms_a_text_range, '.2f')}",
            f"{size.texts_a_second:,.0f} {_range(size.texts_a_second_range, ',.0f')}",
        )
    return table
