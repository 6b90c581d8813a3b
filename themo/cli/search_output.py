"""The answers of ``search`` as lines for people and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from themo.image_search.pictures import printable, readable
from themo.process.output import print_result

if TYPE_CHECKING:
    from rich.text import Text

    from themo.image_search.answers import Answer
    from themo.image_search.matches import Match


def answer_to_json(answer: Answer, folder: Path) -> dict[str, Any]:
    """Return an answer as JSON."""
    query = answer.query
    return {
        "query": readable(query.title),
        "texts": list(query.texts),
        "minus": list(query.minus),
        "like": [readable(str(path)) for path in query.like],
        "unlike": [readable(str(path)) for path in query.unlike],
        "nothing_like_that": answer.is_nothing_like_that,
        "folded": answer.n_folded,
        "approximate": answer.is_approximate,
        "matches": [_match_to_json(match, folder) for match in answer.matches],
    }


def _match_to_json(match: Match, folder: Path) -> dict[str, Any]:
    def paths(names: Sequence[str]) -> list[str]:
        return [readable(str(folder / name)) for name in names]

    return {
        "path": readable(str(folder / match.name)),
        "score": match.score,
        "chance": match.chance,
        "copies": paths(match.copies),
        "duplicates": paths(match.duplicates),
    }


def print_answer(answer: Answer, folder: Path, min_chance: float | None) -> None:
    """Print an answer: unlikely matches are dimmed and say so."""
    from rich.text import Text

    print_result(Text(printable(answer.query.title), style="bold"))
    if min_chance is not None and not answer.matches:
        print_result(Text(f"       nothing with a chance of {min_chance:g} or more", style="yellow"))
    elif answer.is_nothing_like_that:
        print_result(Text("       nothing like that; the nearest:", style="yellow"))
    for rank, match in enumerate(answer.matches, start=1):
        print_result(_line(rank, match, folder))


def _line(rank: int, match: Match, folder: Path) -> Text:
    from rich.text import Text

    line = Text(f"{rank:5}  ", style="dim" if match.is_unlikely else "")
    line.append(f"{match.score:6.3f}", style="green")
    line.append(f"  {printable(str(folder / match.name))}")
    if match.copies:
        line.append(f"  and {_count(len(match.copies), 'copy', 'copies')}")
    if match.duplicates:
        line.append(f"  and {_count(len(match.duplicates), 'near-duplicate', 'near-duplicates')}")
    if match.chance is not None:
        line.append(f"  {'unlikely, ' if match.is_unlikely else ''}chance {match.chance:.2f}")
    return line


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
