"""``tune``: run a search, write its winner as ``best.yaml`` and ``best/``, test it if there are images."""

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
    """Add the command's options."""
    add = parser.add_argument_group("search").add_argument
    add("--num-samples", type=positive, metavar="N", help="total number of trials (as in the space file)")
    add("--name", help="name of the search (the date and time)")
    add(
        "--resume",
        metavar="NAME",
        help="search to resume; a finished one needs more --num-samples or --stop-after-no-gain",
    )
    add("--repeat", metavar="NAME", help="earlier search whose settings and space the new search copies")
    add("--warm-start", metavar="NAME", help="earlier search whose trials the searcher learns from")
    add("--space", type=path, metavar="FILE", help="YAML of the search space (the preset's, in configs)")
    add("--search-seed", type=natural, metavar="N", help="seed of the proposals (as in the space file)")
    add("--searcher", metavar="NAME", help="tpe, gp, cmaes, random or quasi-random (as in the space file)")
    add(
        "--scheduler",
        metavar="NAME",
        help="asha, pausing-asha, hyperband, median, pbt or none (as in the space file)",
    )
    add = parser.add_argument_group("stopping").add_argument
    add(
        "--time-budget",
        type=seconds,
        metavar="TIME",
        help="time after which the search stops (90m, 2h30m); --resume continues it (no limit)",
    )
    add(
        "--stop-after-no-gain",
        type=positive,
        metavar="N",
        help="trials without improvement after which the search stops; not with pbt (as in the space file)",
    )
    add = parser.add_argument_group("machines").add_argument
    add(
        "--gpus-per-trial",
        type=gpus,
        metavar="X",
        help="GPUs per trial, also fractions; 0: CPU only; auto: by a trial's memory (1 if there are any)",
    )
    add("--cpus-per-trial", type=float, metavar="X", help="CPUs per trial (1)")
    add("--max-concurrent", type=int, metavar="N", help="trials at the same time (as many as fit)")
    add("--address", help="address of a running Ray cluster (RAY_ADDRESS, or local: started on this machine)")
    add(
        "--storage-path",
        type=place,
        metavar="PLACE",
        help="folder or s3://, gs:// address that all machines share, for checkpoints (the search's folder)",
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
    with waiting("Connecting to the cluster"):
        options.address = cluster_behind(asked_address(options.address))
        refuse_unreachable(options.address)  # before the slow imports
    refuse_unfit_folders(options.address)
    is_new = options.resume is None
    # from here on `status` shows a new search
    with reserve(options.name, settings) if is_new else nullcontext() as place:
        with waiting("Loading libraries"):
            from themo.data.preparation import prepare_data
            from themo.data.test_files import fetch_captions
            from themo.tracking.uri import tracking_uri, ui_command
            from tune.cluster.connection import ClusterError
            from tune.cluster.teacher_vectors import encoder_on
            from tune.driver.range_ends import refuse_unfit_ends
            from tune.driver.request import begin, resume
            from tune.driver.session import run_search
            from tune.results.best_trials import table
            from tune.results.report.page import write_report
            from tune.study.search import alone, discard_untried, has_pairs
        search = begin(options, settings, place) if is_new else resume(options, settings)

    address = search.resources.address
    encode = encoder_on(address) if address else None

    is_begun = has_pairs(search)  # a search interrupted before its first trial begins here

    def prepare(settings: Settings) -> TrainingData:
        if not is_begun:
            fetch_captions(settings)
        data = prepare_data(settings, elsewhere=encode)
        if not is_begun:
            refuse_unfit_ends(search.space, settings, data)
        return data

    logs_dir = search.settings.paths.logs_dir
    where = [] if logs_dir == load().paths.logs_dir else ["--logs-dir", logs_dir]
    if options.resume is not None:  # a new search records these options, a resume does not
        for name in ("address", "max_concurrent"):
            given = getattr(options, name)
            where += [] if given is None else [option(name), str(given)]
    resume_hint[:] = [typed("tune", "--resume", search.name, *where)]
    console.print(f"Search {search.name}: {search.folder}")
    for line in toy_parts(search.settings):
        console.print(line, soft_wrap=True)

    def print_resume_command() -> None:
        # at the start: some failures, such as the loss of a cluster's head, leave no chance to print
        console.print(f"To resume: {resume_hint[0]}", soft_wrap=True)

    try:
        result = run_search(search, prepare, time_budget=options.time_budget, on_begin=print_resume_command)
    except InputError:
        if options.resume is None:
            discard_untried(search)
        raise
    except ClusterError as error:
        raise RuntimeError(f"{error}. To resume: {resume_hint[0]}") from error
    best = result.folder / "best"
    tested, report = None, None
    try:
        with alone(result.folder):  # a search resumed meanwhile could get another winner
            tested, report = _tested(best), _written(lambda: write_report(search, result.folder))
    except InputError as error:
        console.print(f"Neither tested nor reported on: {reason_of(error)}")
    if options.json:
        printed = result.to_json() | ({"test": tested[0]} if tested else {})
        print_json(printed | {"report": str(report) if report else None})
    else:
        print_result(table(result, search.space.dimensions))
        if tested:
            print_result(tested[1])
    if not result.is_whole:
        n_done = sum(n for state, n in result.counts.items() if state not in ("RUNNING", "PAUSED"))
        console.print(
            f"Time is up:    {n_done} of {result.num_samples} trials are done; to resume: {resume_hint[0]}",
            soft_wrap=True,
        )
    if not result.best.lineage:  # no settings repeat a trial that was cloned
        console.print(
            f"Reproduce it:  {typed('train', '--config', result.folder / 'best.yaml')}", soft_wrap=True
        )
    if report:
        console.print(f"Report:        {report}", soft_wrap=True)
    if tested:
        console.print(f"Test it:       {typed('test', '--version-path', best)}", soft_wrap=True)
    console.print(
        f"Compare runs:  {ui_command(tracking_uri(Path(search.settings.paths.logs_dir)))}", soft_wrap=True
    )


def _tested(best: Path) -> tuple[dict[str, Any], Table | str] | None:
    """Return the winner's scores and a table of them; None if it was not tested.

    An earlier test, as of a finished search that is resumed, is kept: it may cover more.
    """
    from themo.checkpoints.versions import TEST_FILE, read_settings
    from themo.evaluation.report.tables import read_scores

    if (best / TEST_FILE).exists():
        with suppress(InputError):  # damaged: test again
            return read_scores(best / TEST_FILE), f"Tested before: {best / TEST_FILE}"
    winner = read_settings(best)  # the winner's teacher, if the search chose teachers
    if not winner.benchmarks.names_tests or winner.data.targets is not None:
        return None
    try:
        tested = score_and_record(winner, best, "all", baseline=False, floor=True, must_answer=False)
    except Exception as error:  # no failure may lose the search's result
        console.print(f"Not tested: {reason_of(error)}")
        return None
    return tested.to_dict(), tested.scores.to_table()


def _written(write: Callable[[], Path]) -> Path | None:
    """Write the report of a finished search; print the reason and return None if that fails."""
    try:
        return write()
    except Exception as error:  # no failure may lose the search's result
        console.print(f"No report was written: {reason_of(error)}")
        return None
