"""``tune``: a search; its winner as ``best.yaml`` and ``best/``, tested where there are images."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from themo.commands.test import score_and_record
from themo.config import load, space_path
from themo.errors import InputError
from themo.options import Parser, add_json, add_presets, add_settings, natural, positive
from themo.output import print_json, print_result
from themo.progress import console

SUMMARY = "Search for the best settings, over all cores or a Ray cluster."
EXAMPLES = """\
  python -m themo tune --num-samples 32
  python -m themo tune --preset vit-l-14-beto --gpus-per-trial 0.5 --name beto
  python -m themo tune --resume beto
"""


def add_options(parser: Parser) -> None:
    """The command's options."""
    add = parser.add_argument
    add("--num-samples", type=positive, metavar="N", help="trials (as the space's file says)")
    add("--name", help="name of the search (the date and time)")
    add("--resume", metavar="NAME", help="go on with a search that was interrupted")
    add("--space", type=Path, metavar="FILE", help="YAML of the search space (configs/search.yaml)")
    add("--search-seed", type=natural, metavar="N", help="seed of the proposals (as in the file)")
    add("--searcher", metavar="NAME", help="tpe, gp, cmaes, random or quasi-random (as in the file)")
    add(
        "--scheduler",
        metavar="NAME",
        help="asha, pausing-asha, hyperband, median, pbt or none (as in the file)",
    )
    add("--gpus-per-trial", type=float, metavar="X", help="GPUs a trial, also fractions (1 with a GPU)")
    add("--cpus-per-trial", type=float, metavar="X", help="CPUs a trial (1)")
    add("--max-concurrent", type=int, metavar="N", help="trials at once (as many as fit)")
    add("--address", help="a running Ray cluster (none: one is started on this machine)")
    add_presets(parser)
    add_settings(parser)
    add_json(parser)


def run(options: Namespace, resume_hint: list[str]) -> None:
    """Run the command."""
    from dataclasses import replace
    from datetime import datetime

    from themo.devices import resolve_device
    from themo.preparation import prepare_data
    from themo.tracking import check_reachable, tracking_uri, ui_command
    from themo.versions import read_settings
    from tune.cluster import refuse_unreachable
    from tune.results import table
    from tune.search import (
        Resources,
        discard_untried,
        new_search,
        read_search,
        refuse_taken,
        run_search,
        search_folder,
    )
    from tune.space import load as load_space

    settings = load(options.config, options.preset, options.settings)
    machines = {"address": options.address, "max_concurrent": options.max_concurrent}
    machines = {name: value for name, value in machines.items() if value is not None}
    refuse_unreachable(options.address)
    if options.resume is not None:
        _refuse_new_search(options)
        search = read_search(search_folder(options.resume, settings))
        search = replace(search, resources=replace(search.resources, **machines))
        prepare_data(search.settings)
    else:
        space = load_space(options.space or space_path(), settings)
        changes = {"num_samples": options.num_samples, "seed": options.search_seed}
        changes |= {"searcher": options.searcher, "scheduler": options.scheduler}
        space = space.searched_by(**{name: value for name, value in changes.items() if value is not None})
        device = resolve_device(settings.training.device)
        shares = {"cpus_per_trial": options.cpus_per_trial, "gpus_per_trial": options.gpus_per_trial}
        if options.gpus_per_trial is None and device.type == "cuda":
            shares["gpus_per_trial"] = 1.0  # else all trials would share the first GPU
        resources = Resources(
            **machines, **{name: value for name, value in shares.items() if value is not None}
        )
        name = options.name or datetime.now().astimezone().strftime("%Y-%m-%d_%H-%M-%S")
        refuse_taken(name, settings)
        check_reachable(tracking_uri(Path(settings.paths.logs_dir)))
        prepare_data(settings)
        search = new_search(name, space, settings, resources)
    logs_dir = search.settings.paths.logs_dir
    where = "" if logs_dir == load().paths.logs_dir else f" --logs-dir {logs_dir}"
    resume_hint[:] = [f"python -m themo tune --resume {search.name}{where}"]
    console.print(f"Search {search.name}: {search_folder(search.name, search.settings)}")
    try:
        result = run_search(search, prepare_data)
    except InputError:
        if options.resume is None:
            discard_untried(search)
        raise
    resume_hint.clear()
    best = result.folder / "best"
    tested = None
    winner = read_settings(best)  # its own teacher, where that was searched
    if winner.benchmarks.names_tests and winner.data.targets is None:
        try:
            tested = score_and_record(winner, best, "all", baseline=False)
        except InputError as error:  # the search is done: its result must not be lost
            console.print(f"Not tested: {error}")
    if options.json:
        print_json(result.to_json() | ({"test": tested.to_dict()} if tested else {}))
    else:
        print_result(table(result, search.space.dimensions))
        if tested:
            print_result(tested.to_table())
    if not result.best.lineage:  # else no settings repeat it
        console.print(
            f"Reproduce it:  python -m themo train --config {result.folder / 'best.yaml'}", soft_wrap=True
        )
    if tested:
        console.print(f"Test it:       python -m themo test --version-path {best}")
    console.print(
        f"Compare runs:  {ui_command(tracking_uri(Path(search.settings.paths.logs_dir)))}", soft_wrap=True
    )


def _refuse_new_search(options: Namespace) -> None:
    new = (
        "num_samples",
        "search_seed",
        "searcher",
        "scheduler",
        "space",
        "name",
        "cpus_per_trial",
        "gpus_per_trial",
        "config",
        "preset",
    )
    if any(getattr(options, name) is not None for name in new) or set(options.settings) - {"logs_dir"}:
        raise InputError(
            "--resume goes on with what the search began with; only --logs-dir, --address and "
            "--max-concurrent may be given with it"
        )
