"""``search``: find the pictures of a folder that match Spanish texts best."""

from __future__ import annotations

import os
import textwrap
from argparse import Namespace
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from themo.cli.addressing import VERSION_HELP, find_version, sees_images
from themo.cli.options import Parser, add_json, add_settings, path, positive
from themo.cli.served_search import add_serving_options, open_port, refuse_serving_options, serve
from themo.config.sections import MAX_TOKENS
from themo.errors import InputError
from themo.files.atomic import write_text
from themo.image_search.left_out import LeftOut
from themo.image_search.pictures import Stamp, find_pictures, printable, readable
from themo.models.normal_form import is_blank
from themo.process.output import print_json, print_result
from themo.process.progress import console, waiting

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from themo.image_search.index import ImageIndex, Match
    from themo.model import Model

SUMMARY = "Find the pictures of a folder that match Spanish texts."
EXAMPLES = """\
  python -m themo search "dos círculos rojos" --images ~/Pictures
  python -m themo search "un perro" "un gato" --images ~/Pictures --html found.html
  python -m themo search "una bici" --images DIR --exclude Trash --exclude "*.png" --exclude "2019/*"
  python -m themo search "una bici" --images DIR --version-path NAME
  python -m themo search --serve --images ~/Pictures
"""
_LONGEST_SHOWN = 60
"""Characters of a text that a warning shows."""
_FIRST_TEXT = "hola"
"""Text that a served search encodes at its start, so that the first search of the page is as fast as all."""
N_BEST = 10
"""Number of pictures per text by default."""
N_NAMED = 5
"""Number of broken pictures and unreadable paths that are named; the rest is counted."""


def add_options(parser: Parser) -> None:
    """Add the command's options."""
    parser.add_argument("queries", nargs="*", metavar="TEXT", help="text to look for, in Spanish")
    group = parser.add_argument_group("search")
    group.add_argument(
        "--images", type=path, required=True, metavar="FOLDER", help="folder of pictures, with its subfolders"
    )
    group.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="PATTERN",
        help="name of files and folders to leave out, or path below FOLDER with a /; * and ? (repeatable)",
    )
    group.add_argument(
        "--version-path",
        type=path,
        metavar="VERSION",
        help=VERSION_HELP,
    )
    group.add_argument("--top", type=positive, metavar="N", help=f"pictures per text ({N_BEST})")
    group.add_argument("--html", type=path, metavar="FILE", help="HTML page of the pictures found")
    group.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="device for the models (auto)"
    )
    add_serving_options(parser.add_argument_group("page"))
    add_settings(parser, ("paths",))
    add_json(parser)


def run(options: Namespace, _resume_hint: list[str]) -> None:
    """Run the command."""
    refuse_serving_options(options)
    if options.serve:
        with closing(open_port(options)) as listener:  # before hours of encoding
            found = _list_pictures(options)
            version, model = _load_student(options, [_FIRST_TEXT])[:2]
            serve(options, listener, version, model, _open_index(options.images, found, model))
        return
    _refuse_queries(options.queries)
    _refuse_page(options.html)
    found = _list_pictures(options)
    version, model, queries_QE = _load_student(options, options.queries)
    _tell_unread(model, options.queries)
    index = _open_index(options.images, found, model)
    results = index.search(queries_QE, options.top or N_BEST)
    if options.json:
        print_json(_to_json(options, version, index, results))
    else:
        for query, matches in zip(options.queries, results, strict=True):
            _print_matches(query, matches, options.images)
    if options.html is not None:  # last: if it fails, the results are already printed
        _write_page(options, version, index, results)


def _list_pictures(options: Namespace) -> list[Stamp]:
    unlisted: list[OSError] = []
    left_out = LeftOut(options.exclude)
    with waiting("Listing pictures"):
        found = find_pictures(options.images, unlisted.append, left_out)
    for error in unlisted[:N_NAMED]:
        console.print(f"{printable(str(error.filename))}: is left out: {error.strerror}")
    if len(unlisted) > N_NAMED:
        console.print(f"{len(unlisted) - N_NAMED:,} more are left out")
    for line in left_out.lines():
        console.print(printable(line), soft_wrap=True)
    if not found:
        none = "none that can be read" if unlisted else "none"
        raise InputError(f"--images {options.images}: must hold pictures (.jpg, .png, ...), found {none}")
    return found


def _load_student(options: Namespace, texts: list[str]) -> tuple[Path, Model, npt.NDArray[np.float32]]:
    """Return the version, its model, and the vectors of texts."""
    version = find_version(options.version_path, options.settings, "to search with", sees_images)
    with waiting("Loading the student"):
        from themo.model import load

        model = load(version, device=options.device, cache_dir=options.settings.get("cache_dir"))
        return version, model, model.encode(texts, normalize=True)


def _write_page(options: Namespace, version: Path, index: ImageIndex, results: list[list[Match]]) -> None:
    from themo.image_search.gallery import Found, page

    pairs = zip(options.queries, results, strict=True)
    text = page([Found(*pair) for pair in pairs], options.images, len(index.names), str(version))
    try:
        write_text(options.html, text)
    except OSError as error:
        raise InputError(f"--html {options.html}: cannot be written: {error.strerror}") from error
    console.print(f"Written: {options.html}")


def _refuse_queries(queries: list[str]) -> None:
    if not queries:
        raise InputError(
            "the following arguments are required: TEXT, or --serve (see python -m themo search --help)"
        )
    for query in queries:
        if is_blank(query):
            raise InputError(f"search: a text must not be empty, got {query!r}")
        try:
            query.encode()
        except UnicodeEncodeError:
            raise InputError(f"search: a text must be UTF-8, got {query!r}") from None


def _refuse_page(page: Path | None) -> None:
    """Refuse a page that cannot be written, before hours of encoding."""
    if page is None:
        return
    folder = page.absolute().parent
    if page.is_dir() or not folder.is_dir():
        raise InputError(f"--html {page}: must be a file in an existing folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"--html {page}: must be in a writable folder, {folder} is not")


def _tell_unread(model: Model, queries: list[str]) -> None:
    for query, count in zip(queries, model.count_tokens(queries), strict=True):
        if count > model.max_length:
            of = f"at least {count}" if count >= MAX_TOKENS else str(count)
            console.print(
                f"Text cut to its first {model.max_length} of {of} tokens: "
                f"{textwrap.shorten(printable(query), _LONGEST_SHOWN, placeholder=' …')}",
                soft_wrap=True,
            )


def _open_index(folder: Path, found: list[Stamp], model: Model) -> ImageIndex:
    from themo.image_search.index import ImageIndex

    cache = Path(model.settings.paths.cache_dir)
    index = ImageIndex.update(cache, folder, found, model.teacher_fingerprint, lambda: model.teacher)
    broken = list(index.broken.values())
    if broken:
        rest = f", and {len(broken) - N_NAMED:,} more" if len(broken) > N_NAMED else ""
        named = "; ".join(map(printable, broken[:N_NAMED]))
        if not index.names:
            raise InputError(
                f"--images {folder}: must hold a readable picture, all {len(broken):,} are broken: "
                f"{named}{rest}"
            )
        console.print(f"{len(broken):,} of {len(found):,} pictures are broken and left out: {named}{rest}")
    console.print(f"{len(index.names):,} pictures; {index.n_new:,} files were new or changed")
    return index


def _to_json(
    options: Namespace, version: Path, index: ImageIndex, results: list[list[Match]]
) -> dict[str, Any]:
    return {
        "version": readable(str(version)),
        "images": len(index.names),
        "broken": [readable(name) for name in index.broken],
        "queries": [
            {
                "query": query,
                "matches": [
                    {
                        "path": readable(str(options.images / match.name)),
                        "score": match.score,
                        "copies": [readable(str(options.images / name)) for name in match.copies],
                    }
                    for match in matches
                ],
            }
            for query, matches in zip(options.queries, results, strict=True)
        ],
    }


def _print_matches(query: str, matches: list[Match], folder: Path) -> None:
    from rich.text import Text

    print_result(Text(printable(query), style="bold"))
    for rank, match in enumerate(matches, start=1):
        line = Text(f"{rank:5}  ")
        line.append(f"{match.score:6.3f}", style="green")
        line.append(f"  {printable(str(folder / match.name))}")
        if match.copies:
            line.append(f"  and {len(match.copies):,} {'copy' if len(match.copies) == 1 else 'copies'}")
        print_result(line)
