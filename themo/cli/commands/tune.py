"""``tune``: a search; its winner as ``best.yaml`` and ``best/``, tested where there are images."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from themo.cli.commands import load_checked
from themo.cli.commands.test import score_and_record
from themo.cli.options import (
    Parser,
    add_json,
    add_presets,
    add_settings,
    gpus,
    natural,
    path,
    place,
    positive,
    seconds,
)
from themo.config.settings import Settings, load, option
from themo.config.worlds import toy_parts
from themo.errors import InputError, reason_of
from themo.process.output import print_json, print_result, typed
from themo.process.progress import console, waiting

if TYPE_CHECKING:
    from rich.table import Table

    from themo.data.dataset import TrainingData

SUMMARY = "Search for the best settings, over all cores or a Ray cluster."
USAGE = "python -m themo tune [OPTION ...]"
EXAMPLES = """\
  python -m themo tune --num-samples 32
  python -m themo tune --preset vit-l-14-beto --gpus-per-trial 0.5 --name beto
  python -m themo tune --resume beto
"""


def add_options(parser: Parser) -> None:
    """The command's options."""
    add = parser.add_argument_group("search").add_argument
    add("--num-samples", type=positive, metavar="N", help="trials in all (as the space's file says)")
    add("--name", help="name of the search (the date and time)")
    add(
        "--resume",
        metavar="NAME",
        help="go on with a search; with more --num-samples or --stop-after-no-gain, also a finished one",
    )
    add("--repeat", metavar="NAME", help="a new search with the settings and the space of an earlier one")
    add("--warm-start", metavar="NAME", help="learn from the trials of an earlier search as well")
    add("--space", type=path, metavar="FILE", help="YAML of the search space (the preset's, in configs)")
    add("--search-seed", type=natural, metavar="N", help="seed of the proposals (as in the file)")
    add("--searcher", metavar="NAME", help="tpe, gp, cmaes, random or quasi-random (as in the file)")
    add(
        "--scheduler",
        metavar="NAME",
        help="asha, pausing-asha, hyperband, median, pbt or none (as in the file)",
    )
    add = parser.add_argument_group("its end").add_argument
    add(
        "--time-budget",
        type=seconds,
        metavar="TIME",
        help="end with what there is after so long (90m, 2h30m); --resume goes on",
    )
    add(
        "--stop-after-no-gain",
        type=positive,
        metavar="N",
        help="end when N trials after the best one were no better; not with pbt (as in the file)",
    )
    add = parser.add_argument_group("machines").add_argument
    add(
        "--gpus-per-trial",
        type=gpus,
        metavar="X",
        help="GPUs a trial, also fractions; 0: none; auto: by the memory trials take (1 where there are any)",
    )
    add("--cpus-per-trial", type=float, metavar="X", help="CPUs a trial (1)")
    add("--max-concurrent", type=int, metavar="N", help="trials at once (as many as fit)")
    add("--address", help="a running Ray cluster (RAY_ADDRESS, or local: one is started on this machine)")
    add(
        "--storage-path",
        type=place,
        metavar="PLACE",
        help="folder or s3://, gs:// that all machines share, for checkpoints (the search's own folder)",
    )
    add_presets(parser)
    add_settings(parser)
    add_json(parser)


def run(options: Namespace, resume_hint: list[str]) -> None:
    """Run the command."""
    from tune.cluster.address import asked_address, cluster_behind, refuse_unreachable
    from tune.cluster.folders import refuse_unfit_folders
    from tune.study.naming import reserve

    begins = options.resume is None and options.repeat is None
    settings = load_checked(options) if begins else load(options.config, options.preset, options.settings)
    with waiting("Looking for the cluster"):
        options.address = cluster_behind(asked_address(options.address))
        refuse_unreachable(options.address)  # before the libraries, which take seconds
    refuse_unfit_folders(options.address)
    is_new = options.resume is None
    # `status` sees a new search from now on
    with reserve(options.name, settings) if is_new else nullcontext() as place:
        from tune.driver.request import begin, resume

        search = begin(options, settings, place) if is_new else resume(options, settings)

    logs_dir = search.settings.paths.logs_dir
    where = [] if logs_dir == load().paths.logs_dir else ["--logs-dir", logs_dir]
    if options.resume is not None:  # what a search begins with, it keeps
        for name in ("address", "max_concurrent"):
            given = getattr(options, name)
            where += [] if given is None else [option(name), str(given)]
    resume_hint[:] = [typed("tune", "--resume", search.name, *where)]
    console.print(f"Search {search.name}: {search.folder}")
    for line in toy_parts(search.settings):
        console.print(line, soft_wrap=True)

    with waiting("Loading libraries"):  # after all that can be refused without them
        from themo.data.preparation import prepare_data
        from themo.data.test_files import fetch_captions
        from themo.tracking.uri import tracking_uri, ui_command
        from tune.cluster.connection import ClusterError
        from tune.driver.range_ends import refuse_unfit_ends
        from tune.driver.session import run_search
        from tune.results.best_trials import table
        from tune.study.search import alone, discard_untried, has_pairs

    encode = None
    if search.resources.address:
        from tune.cluster.teacher_vectors import encoder_on

        encode = encoder_on(search.resources.address)

    is_begun = has_pairs(search)  # else it was broken off before, and is begun now

    def prepare(settings: Settings) -> TrainingData:
        if not is_begun:
            fetch_captions(settings)
        data = prepare_data(settings, elsewhere=encode)
        if not is_begun:
            refuse_unfit_ends(search.space, settings, data)
        return data

    def tell_how_to_go_on() -> None:
        # at once: there are ends, such as that of a cluster's head, after which no word can be said
        console.print(f"Should it break off: {resume_hint[0]}", soft_wrap=True)

    try:
        result = run_search(search, prepare, time_budget=options.time_budget, on_begin=tell_how_to_go_on)
    except InputError:
        if options.resume is None:
            discard_untried(search)
        raise
    except ClusterError as error:
        raise RuntimeError(f"{error}. Continue with: {resume_hint[0]}") from error
    from tune.results.report.page import write_report

    best = result.folder / "best"
    tested, report = None, None
    try:
        with alone(result.folder):  # a search that grows meanwhile could get another winner
            tested, report = _tested(best), _written(lambda: write_report(search, result.folder))
    except InputError as error:
        console.print(f"Neither tested nor reported on: {reason_of(error)}")
    if options.json:
        told = result.to_json() | ({"test": tested[0]} if tested else {})
        print_json(told | {"report": str(report) if report else None})
    else:
        print_result(table(result, search.space.dimensions))
        if tested:
            print_result(tested[1])
    if not result.is_whole:
        n_done = sum(n for state, n in result.counts.items() if state not in ("RUNNING", "PAUSED"))
        console.print(
            f"Time is up:    {n_done} of {result.num_samples} trials are done; go on: {resume_hint[0]}",
            soft_wrap=True,
        )
    if not result.best.lineage:  # else no settings repeat it
        console.print(
            f"Reproduce it:  {typed('train', '--config', result.folder / 'best.yaml')}", soft_wrap=True
        )
    if report:
        console.print(f"Read of it:    {report}", soft_wrap=True)
    if tested:
        console.print(f"Test it:       {typed('test', '--version-path', best)}", soft_wrap=True)
    console.print(
        f"Compare runs:  {ui_command(tracking_uri(Path(search.settings.paths.logs_dir)))}", soft_wrap=True
    )


def _tested(best: Path) -> tuple[dict[str, Any], Table | str] | None:
    """The winner's scores, and what to show of them; None where it was not tested.

    One that was tested before, as when a finished search is resumed, keeps that test, which may know more.
    """
    from themo.checkpoints.versions import TEST_FILE, read_settings
    from themo.evaluation.report.tables import read_scores

    if (best / TEST_FILE).exists():
        with suppress(InputError):  # damaged: written anew
            return read_scores(best / TEST_FILE), f"Tested before: {best / TEST_FILE}"
    winner = read_settings(best)  # its own teacher, where that was searched
    if not winner.benchmarks.names_tests or winner.data.targets is not None:
        return None
    try:
        tested = score_and_record(winner, best, "all", baseline=False, floor=True, must_answer=False)
    except Exception as error:  # whatever it is: the search is done, and its result must not be lost
        console.print(f"Not tested: {reason_of(error)}")
        return None
    return tested.to_dict(), tested.scores.to_table()


def _written(write: Callable[[], Path]) -> Path | None:
    """The report of a search that has ended; None, and a line, where it cannot be written."""
    try:
        return write()
    except Exception as error:  # whatever it is: the search is done, and its result must not be lost
        console.print(f"No report was written: {reason_of(error)}")
        return None
