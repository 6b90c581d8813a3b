"""``search``: find the pictures of a folder that match Spanish texts best."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from themo.cli.addressing import VERSION_HELP, find_version, sees_images
from themo.cli.approximate_search import open_approximate, recall_to_json, refuse_missing_faiss
from themo.cli.known_runs import complete_with, versions_and_searches
from themo.cli.options import Parser, add_json, add_settings, path, positive
from themo.cli.search_output import answer_to_json, print_answer
from themo.cli.search_queries import add_query_options, read_queries, warn_of_cut_texts
from themo.cli.served_search import N_BEST as N_BEST_OF_PAGE
from themo.cli.served_search import add_serving_options, open_port, refuse_serving_options, serve
from themo.errors import InputError
from themo.files.atomic import write_text
from themo.image_search.left_out import LeftOut
from themo.image_search.pictures import Stamp, find_pictures, printable, readable
from themo.models.runtimes.choice import RUNTIMES, refuse_runtime
from themo.process.devices import let_threads_sleep
from themo.process.output import print_json
from themo.process.progress import console, waiting

if TYPE_CHECKING:
    from themo.image_search.answers import Answer, Answerer
    from themo.image_search.index import ImageIndex
    from themo.image_search.query import Query
    from themo.model import Model

SUMMARY = "Find the pictures of a folder that match Spanish texts."
EXAMPLES = """\
  python -m themo search "dos círculos rojos" --images ~/Pictures
  python -m themo search "un perro" "un gato" --images DIR --html found.html
  python -m themo search bici --images DIR --exclude Trash --exclude "2019/*"
  python -m themo search "una bici" --images DIR --version-path NAME
  python -m themo search "una bici" --images DIR --top 500 --min-chance 0.5
  python -m themo search --like a.jpg --plus noche --minus gente --images DIR
  python -m themo search --serve --images ~/Pictures
"""
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
    version = group.add_argument("--version-path", type=path, metavar="VERSION", help=VERSION_HELP)
    complete_with(version, versions_and_searches)  # an argument is a text
    group.add_argument("--top", type=positive, metavar="N", help=f"pictures per text ({N_BEST})")
    add_query_options(group)
    group.add_argument("--html", type=path, metavar="FILE", help="HTML page of the pictures found")
    group.add_argument(
        "--approximate",
        action="store_true",
        help="candidates of a faiss index instead of all pictures; prints the recall (all pictures)",
    )
    group.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="device for the models (auto)"
    )
    group.add_argument(
        "--runtime",
        choices=RUNTIMES,
        default="auto",
        help="runtime for the texts; auto: the fastest installed one (auto)",
    )
    add_serving_options(parser.add_argument_group("page"))
    add_settings(parser, ("paths",))
    add_json(parser)


def run(options: Namespace, resume_hint: list[str]) -> None:
    """Run the command."""
    let_threads_sleep()
    refuse_serving_options(options)
    refuse_runtime(options.runtime, options.device)
    if options.approximate:
        refuse_missing_faiss()
    if options.serve:
        with closing(open_port(options)) as listener:  # before hours of encoding
            version, answerer = _open(options)
            _print_limits([], answerer.uncalibrated, options.min_chance)
            resume_hint.clear()  # a server that ends has nothing to resume
            serve(options, listener, version, answerer)
        return
    queries = read_queries(options)
    _refuse_page(options.html)
    _refuse_pictures(options)
    version, answerer = _open(options, queries)
    index = answerer.index
    answers = answerer.answer(
        queries,
        options.top or N_BEST,
        min_chance=options.min_chance,
        fold_duplicates=not options.duplicates,
    )
    uncalibrated = answerer.uncalibrated if any(query.is_one_text for query in queries) else None
    _print_limits(answers, uncalibrated, options.min_chance)
    if options.json:
        facts = {
            "version": readable(str(version)),
            "images": len(index.names),
            "broken": [readable(name) for name in index.broken],
            "uncalibrated": uncalibrated,
            "approximate": recall_to_json(answerer.approximate),
        }
        print_json(facts | {"queries": [answer_to_json(answer, options.images) for answer in answers]})
    else:
        for answer in answers:
            print_answer(answer, options.images, options.min_chance)
    if options.html is not None:  # last: if it fails, the results are already printed
        _write_page(options, version, index, answers)


def _open(options: Namespace, queries: Sequence[Query] = ()) -> tuple[Path, Answerer]:
    """Return the version, and its `Answerer` over the updated index."""
    found = _list_pictures(options)
    version = find_version(options.version_path, options.settings, "to search with", sees_images)
    with waiting("Loading the student"):
        from themo.model import load

        cache = options.settings.get("cache_dir")
        model = load(version, device=options.device, runtime=options.runtime, cache_dir=cache)
    if queries:
        warn_of_cut_texts(model, queries)
    index = _open_index(options.images, found, model)
    from themo.image_search.answers import Answerer

    n_best = options.top or (N_BEST_OF_PAGE if options.serve else N_BEST)
    lists = open_approximate(index, model, n_best) if options.approximate else None
    return version, Answerer(model, index, lists)


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
        none = "no readable ones" if unlisted else "none"
        raise InputError(f"--images {options.images}: must contain pictures (.jpg, .png, ...), found {none}")
    return found


def _refuse_pictures(options: Namespace) -> None:
    """Refuse files of ``--like`` and ``--unlike`` that are no pictures, before hours of encoding."""
    if not options.like and not options.unlike:
        return
    from themo.image_search.query_terms import open_pictures

    for name in ("like", "unlike"):
        open_pictures(getattr(options, name), f"--{name}")


def _print_limits(answers: list[Answer], uncalibrated: str | None, min_chance: float | None) -> None:
    n_folded = sum(answer.n_folded for answer in answers)
    if n_folded:
        files = "file" if n_folded == 1 else "files"
        summed = f", summed over {len(answers)} answers" if len(answers) > 1 else ""
        console.print(f"{n_folded:,} near-duplicate {files} folded{summed}; --duplicates shows all")
    if uncalibrated is not None:
        unused = "" if min_chance is None else f"; --min-chance {min_chance:g} is not applied"
        console.print(f"Matches have no chance: {uncalibrated}{unused}", soft_wrap=True)


def _write_page(options: Namespace, version: Path, index: ImageIndex, answers: list[Answer]) -> None:
    from themo.image_search.gallery import Found, page

    results = [Found(answer.query.title, answer.matches, answer.is_nothing_like_that) for answer in answers]
    text = page(results, options.images, len(index.names), str(version))
    try:
        write_text(options.html, text)
    except OSError as error:
        raise InputError(f"--html {options.html}: cannot be written: {error.strerror}") from error
    console.print(f"Written: {options.html}")


def _refuse_page(page: Path | None) -> None:
    """Refuse a page that cannot be written, before hours of encoding."""
    if page is None:
        return
    folder = page.absolute().parent
    if page.is_dir() or not folder.is_dir():
        raise InputError(f"--html {page}: must be a file in an existing folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"--html {page}: must be in a writable folder, {folder} is not")


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
                f"--images {folder}: must contain a readable picture, but all {len(broken):,} are broken: "
                f"{named}{rest}"
            )
        are = "is" if len(broken) == 1 else "are"
        console.print(f"{len(broken):,} of {len(found):,} pictures {are} broken and left out: {named}{rest}")
    files = "1 file was" if index.n_new == 1 else f"{index.n_new:,} files were"
    console.print(f"{len(index.names):,} pictures; {files} new or changed")
    return index
