"""A table of whole learning curves, as one Parquet file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tune.space.dimensions import Scalar


@dataclass(frozen=True)
class Curve:
    """The learning curve of one training.

    Attributes:
        number: Number of the setting.
        seed: Seed of the training.
        params: The searched settings.
        pairs: Sentence pairs seen at each report, int, ascending.
        values: The objective at each report, higher is better.
        seconds: CPU seconds of the training at each report, validations included.
        reason: Why the training ended early; empty if it did not.
    """

    number: int
    seed: int
    params: dict[str, Scalar]
    pairs: tuple[int, ...]
    values: tuple[float, ...]
    seconds: tuple[float, ...]
    reason: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether the training reached its end."""
        return not self.reason

    @property
    def best(self) -> float:
        """Best objective of all reports, that of the kept student; -inf if the training failed."""
        return max(self.values, default=float("-inf")) if self.is_whole else float("-inf")


_SCHEMA = pa.schema(
    [
        ("number", pa.int32()),
        ("seed", pa.int32()),
        ("params", pa.string()),
        ("pairs", pa.list_(pa.int32())),
        ("values", pa.list_(pa.float32())),
        ("seconds", pa.list_(pa.float32())),
        ("reason", pa.string()),
    ]
)


def read(path: Path) -> list[Curve]:
    """The curves of a file, by setting and seed; none if there is no file."""
    if not path.is_file():
        return []
    curves = []
    for row in pq.read_table(path).to_pylist():
        lists = {name: tuple(row[name]) for name in ("pairs", "values", "seconds")}
        curves.append(Curve(**row | lists | {"params": json.loads(row["params"])}))
    return curves


def read_about(path: Path) -> dict[str, str]:
    """Return the origin of a file: command, commits, machines."""
    about: dict[str, str] = json.loads(pq.read_schema(path).metadata[b"about"])
    return about


def write(path: Path, curves: Sequence[Curve], about: dict[str, str]) -> None:
    """Write the curves atomically."""
    ordered = sorted(curves, key=lambda curve: (curve.number, curve.seed))
    rows = [vars(curve) | {"params": json.dumps(curve.params)} for curve in ordered]
    table = pa.Table.from_pylist(rows, schema=_SCHEMA.with_metadata({"about": json.dumps(about)}))
    temporary = path.with_suffix(".tmp")
    pq.write_table(table, temporary, compression="zstd", compression_level=19)
    temporary.replace(path)
