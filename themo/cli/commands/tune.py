"""``tune``: run a search, write its winner as ``best.yaml`` and ``best/``, test it if there are images."""

from __future__ import annotations

from argparse import Namespace

from themo.cli.known_runs import complete_with, searches
from themo.cli.options import (
    Parser,
    above_0_or_off,
    add_json,
    add_presets,
    add_settings,
    chance,
    gpus,
    natural,
    path,
    place,
    positive,
    positive_or_off,
    seconds,
    share_or_off,
)
from themo.process.output import print_json

SUMMARY = "Search for the best settings, over all cores or a Ray cluster."
USAGE = "python -m themo tune [OPTION ...]"
EXAMPLES = """\
  python -m themo tune --num-samples 32
  python -m themo tune --preset vit-l-14-beto --gpus-per-trial 0.5 --name beto
  python -m themo tune --resume beto
"""

SEARCHERS = ("tpe", "gp", "forecast", "cmaes", "random", "quasi-random")
SCHEDULERS = ("asha", "pausing-asha", "freeze-thaw", "hyperband", "median", "pbt", "none")
SECOND_OBJECTIVES = ("mb", "ms")
RESOURCES = ("pairs", "seconds")
"""Names from `tune.space.search_settings`, which `--help` does without."""


def add_options(parser: Parser) -> None:
    """Add the command's options."""
    add = parser.add_argument_group("search").add_argument
    add("--num-samples", type=positive, metavar="N", help="total number of trials (as in the space file)")
    add("--name", help="name of the search (the date and time)")
    for option, about in (
        ("--resume", "search to resume; a finished one needs wider limits, such as more --num-samples"),
        ("--repeat", "earlier search whose settings and space the new search copies"),
        ("--warm-start", "earlier search whose trials the searcher learns from"),
    ):
        complete_with(add(option, metavar="NAME", help=about), searches)
    add("--space", type=path, metavar="FILE", help="YAML of the search space (the preset's, in configs)")
    add("--search-seed", type=natural, metavar="N", help="seed of the proposals (as in the space file)")
    for option, names in (("--searcher", SEARCHERS), ("--scheduler", SCHEDULERS)):
        about = f"{', '.join(names[:-1])} or {names[-1]} (as in the space file, else chosen by Themo)"
        complete_with(add(option, metavar="NAME", help=about), names)
    complete_with(
        add(
            "--second-objective",
            metavar="NAME",
            help="second cost to minimise: mb, the student's size, or ms, its time per text (as in the "
            "space file; none)",
        ),
        SECOND_OBJECTIVES,
    )
    complete_with(
        add(
            "--resource",
            metavar="NAME",
            help="resource by which trials are compared: pairs, or seconds of training, for searches "
            "over the student's size (as in the space file; pairs)",
        ),
        RESOURCES,
    )
    add(
        "--trial-seconds",
        type=seconds,
        metavar="TIME",
        help="training time of a full trial with --resource seconds (90s, 10m; as in the space file)",
    )
    add = parser.add_argument_group("stopping").add_argument
    add(
        "--time-budget",
        type=seconds,
        metavar="TIME",
        help="time, with the preparation of data, after which the search stops (90m, 2h30m); --resume "
        "continues it (no limit)",
    )
    add(
        "--stop-after-no-gain",
        type=positive_or_off,
        metavar="N",
        help="trials without improvement after which the search stops, or off; not with pbt (as in the space "
        "file; off)",
    )
    add(
        "--stop-gain",
        type=above_0_or_off,
        metavar="X",
        help="gain in the objective's unit; the search stops once the chance that the remaining trials gain "
        "more is below --stop-chance; or off; not with pbt (as in the space file; off)",
    )
    add(
        "--stop-chance",
        type=chance,
        metavar="P",
        help="chance of --stop-gain, above 0 and below 1 (as in the space file; 0.05)",
    )
    add = parser.add_argument_group("confirmation").add_argument
    add(
        "--confirm",
        type=share_or_off,
        metavar="SHARE",
        help="cost of confirming the winner with further seeds, as a share of the search's sentence pairs, "
        "or off (as in the space file; 0.25)",
    )
    add(
        "--confirm-seeds",
        type=positive,
        metavar="N",
        help="largest number of further seeds, 2 to 6 (as in the space file; 6)",
    )
    add = parser.add_argument_group("machines").add_argument
    add(
        "--gpus-per-trial",
        type=gpus,
        metavar="X",
        help="GPUs per trial, fractions too; 0: CPU only; auto: from a trial's memory (1, or 0 without GPUs)",
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
    add = parser.add_argument_group("MLflow").add_argument
    add("--register", metavar="NAME", help="name to register the winner under in MLflow (not registered)")
    add_presets(parser)
    add_settings(parser)
    add_json(parser)


def run(options: Namespace, resume_hint: list[str]) -> None:
    """Run the command."""
    from tune.driver.run import open_search
    from tune.driver.search_options import SearchOptions

    opened = open_search(SearchOptions.of(vars(options)))
    resume_hint[:] = [opened.resume_command]
    result = opened.run()

    from themo.files.run_folders import BEST_VERSION
    from tune.driver.closing_lines import print_closing_lines, print_tables, to_json
    from tune.driver.conclusion import conclude

    end = conclude(opened.search, result.folder / BEST_VERSION, options.register)
    if options.json:
        print_json(to_json(result, end))
    else:
        print_tables(opened.search, result, end)
    print_closing_lines(opened.search, result, end, opened.resume_command)
    end.refuse_unregistered(opened.resume_command)
