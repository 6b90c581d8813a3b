"""``report A B``: one page with two searches beside each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plotly.graph_objects import Figure, Scatter

from themo.errors import InputError
from themo.evaluation.report.html_page import write_page
from themo.evaluation.report.tables import lay_out
from themo.process.progress import waiting
from tune.results.best_trials import show
from tune.results.report.course_figures import SCALED
from tune.results.report.page import now_in_words
from tune.results.report.scales import scales_of
from tune.results.report.source import Source, read_source
from tune.results.report.spending import best_by_pairs
from tune.results.report.winner import headline, values_of
from tune.study.search import Search
from tune.study.work_time import session_seconds

COLOURS = ("#3b7dd8", "#e8890c")
"""Colours of the first and of the second search."""

_TEMPLATE = Path(__file__).parent / "comparison.html"


@waiting("Writing the report")
def write_comparison(first: Search, first_folder: Path, second: Search, second_folder: Path) -> Path:
    """Write the page of two searches into the first one's directory.

    Args:
        first: A search.
        first_folder: Directory of the first search; only its page is changed.
        second: Another search with the same objective, and the same second objective if both have one.
        second_folder: Directory of the second search.

    Returns:
        The HTML file, ``report-beside-NAME.html``.

    Raises:
        InputError: The searches are one, or have different objectives or second objectives; a record is
            damaged or holds no score; or the page cannot be written.
    """
    if first_folder.resolve() == second_folder.resolve():
        raise InputError(f"report A B: must be two different searches, got {first.name} twice")
    if first.objective != second.objective:
        raise InputError(
            f"report A B: both searches must have the same objective, {first.name} has {first.objective}, "
            f"{second.name} has {second.objective}"
        )
    costs = [search.space.search.second_objective for search in (first, second)]
    if None not in costs and costs[0] != costs[1]:
        raise InputError(
            f"report A B: both searches must have the same second objective, {first.name} has {costs[0]}, "
            f"{second.name} has {costs[1]}"
        )
    sources = read_source(first, first_folder), read_source(second, second_folder)
    path = first_folder / f"report-beside-{second_folder.name}.html"
    values = [value for source in sources for trial in source.study for value in trial.values.values()]
    scales = scales_of(values, first.mode)
    try:
        write_page(
            path,
            _TEMPLATE,
            {"progress": progress(sources)},
            data={"scales": [scale.to_json() for scale in scales]},
            objective=first.objective,
            is_higher_better=first.mode == "max",
            sources=sources,
            names=[source.search.name for source in sources],
            scales=scales,
            glance=[_tiles(source) for source in sources],
            winners=list(winners(*sources)),
            differences=list(differences(first, second)),
            tables=[lay_out(source.tested) if source.tested else [] for source in sources],
            has_order=all(source.study.journal is not None for source in sources),
            written=now_in_words(),
        )
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None
    return path


def progress(sources: tuple[Source, Source]) -> Figure:
    """Best objective so far of both searches against the sentence pairs of all their trials."""
    figure = Figure()
    for source, colour, width in zip(sources, COLOURS, (4, 2), strict=True):  # equal courses: both are seen
        points = best_by_pairs(source.study)
        bests = [best for _, best in points]
        figure.add_trace(
            Scatter(
                x=[pairs for pairs, _ in points],
                y=bests,
                customdata=bests,
                name=source.search.name,
                mode="lines+markers",
                line={"shape": "hv", "color": colour, "width": width},
                marker={"size": 6},
                hovertemplate="%{customdata:.4f} after %{x:,.0f} pairs<extra>%{fullData.name}</extra>",
            )
        )
    return figure.update_layout(
        height=420,
        meta=SCALED,
        xaxis={"title": {"text": "sentence pairs of all trials"}, "zeroline": False, "rangemode": "tozero"},
        yaxis={"title": {"text": f"best {sources[0].search.objective} so far"}, "zeroline": False},
    )


@dataclass(frozen=True)
class Pair:
    """A property of two searches: its name, and its text for each search."""

    name: str
    first: str
    second: str

    @property
    def differs(self) -> bool:
        """Whether the searches differ in it."""
        return self.first != self.second


def _tiles(source: Source) -> dict[str, Any]:
    """The tiles of a search."""
    study = source.study
    return {
        "best": source.best.best(study.mode),
        "number": source.best.number,
        "test": headline(source.tested),
        "trials": len(study),
        "counts": study.counts(),
        "pairs": sum(trial.pairs_seen for trial in study),
        "seconds": session_seconds(study),
        "are_trials_done": source.are_trials_done,
    }


def winners(first: Source, second: Source) -> Iterator[Pair]:
    """The settings of both winners, of all that either search varies; fixed values from the base settings."""
    names = dict.fromkeys([*first.search.space.dimensions, *second.search.space.dimensions])
    for name in names:
        yield Pair(name, _value(first, name), _value(second, name))


def _value(source: Source, name: str) -> str:
    """A setting of the winner; in brackets if the search does not vary it, a dash if it is inactive."""
    if name in source.search.space.dimensions:
        params = source.best.params
        return show(params[name]) if name in params else "-"
    return f"({_text(source.search.settings.leaves().get(name))})"


def differences(first: Search, second: Search) -> Iterator[Pair]:
    """The rules, the searched values and the fixed settings in which two searches differ.

    Folders and tracking do not count: they do not change a trial.
    """
    rules = first.space.to_tree()["search"], second.space.to_tree()["search"]
    for name in dict.fromkeys([*rules[0], *rules[1]]):
        pair = Pair(f"search: {name}", *(_text(of.get(name)) for of in rules))
        if pair.differs:
            yield pair
    searched = dict.fromkeys([*first.space.dimensions, *second.space.dimensions])
    for name in searched:
        pair = Pair(f"values of {name}", *(_searched(search, name) for search in (first, second)))
        if pair.differs:
            yield pair
    pair = Pair("trusted settings", *(_text(len(search.space.first)) for search in (first, second)))
    if first.space.to_tree()["first"] != second.space.to_tree()["first"]:
        yield pair
    leaves = [search.settings.leaves() for search in (first, second)]
    own = [set(search.settings.paths.model_dump()) for search in (first, second)]
    for name in leaves[0].keys() | leaves[1].keys():
        if name in searched or name in own[0] | own[1]:
            continue
        pair = Pair(name, *(_text(of.get(name)) for of in leaves))
        if pair.differs:
            yield pair


def _searched(search: Search, name: str) -> str:
    if name in search.space.dimensions:
        return values_of(search.space, name)
    return f"fixed: {_text(search.settings.leaves().get(name))}"


def _text(value: Any) -> str:
    if isinstance(value, float):
        return show(value)
    return "null" if value is None else ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
