"""Plots of benchmarks: a partial run must not replace a plot that a page of the documentation shows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure import Options

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DRAFTS = Path("logs/bench")
PUBLISHED = Path("docs")


def path_of(name: str, options: Options) -> Path:
    """The file of a plot: below ``docs`` with ``--publish``, else below ``logs/bench``."""
    return (PUBLISHED if options.publish else DRAFTS) / name


def save(figure: Figure, path: Path) -> None:
    """Draw a figure under a temporary name, then rename it: a kill leaves the old plot complete."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.tmp{path.suffix}")
    try:
        FigureCanvasAgg(figure).print_figure(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
