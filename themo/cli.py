"""Commands: parse, call, print.

Results go to standard output, all else to standard error. Exit codes: 0 done; 1 a run failed; 2 bad input,
one line; 130 interrupted.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from safetensors import SafetensorError

from themo.config import Settings, load, space_path
from themo.errors import InputError
from themo.options import parse
from themo.progress import console, track

if TYPE_CHECKING:
    from themo.evaluation import Scores
    from themo.scoring import Task
    from themo.tracking import Status
    from themo.training import Report

# Heavy libraries are imported by the commands that need them: `--help` answers in under a second.


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; return the exit code."""
    _quiet_libraries()
    resume_hint: list[str] = []
    try:
        options = parse(arguments)
        commands: dict[str, Callable[[Namespace, list[str]], None]] = {
            "prepare": prepare,
            "train": train,
            "test": test,
            "tune": tune,
        }
        commands[options.command](options, resume_hint)
    except InputError as error:
        console.print(f"Error: {error}")
        return 2
    except KeyboardInterrupt:
        console.print(
            "Interrupted." + "".join(f" Continue with: {hint}" for hint in resume_hint), soft_wrap=True
        )
        return 130
    except (FloatingPointError, RuntimeError, OSError, SafetensorError) as error:
        console.print(f"Failed: {error}")
        return 1
    return 0


def prepare(options: Namespace, _resume_hint: list[str]) -> None:
    """``prepare``: corpus, teacher vectors, tokens."""
    if options.offline:
        os.environ["HF_HUB_OFFLINE"] = "1"  # before the hub's client is imported
    settings = _settings(options)
    if options.dry_run:
        _describe(settings, options)
        return
    from themo.preparation import prepare_data

    if options.tests:
        from themo.benchmark_files import fetch_parts

        fetch_parts(settings, offline=options.offline)
    data = prepare_data(settings)
    result = {
        "train_pairs": len(data.train),
        "validation_pairs": len(data.validation),
        "dimension": data.dimension,
        "tokens_a_sentence": float(len(data.train.ids) / len(data.train)),
        "cache_dir": settings.paths.cache_dir,
    }
    if options.json:
        _print_json(result)
    else:
        _out().print(
            f"{len(data.train):,} training and {len(data.validation):,} validation pairs, teacher vectors of "
            f"{data.dimension} dimensions, ready in {settings.paths.cache_dir}"
        )


def _describe(settings: Settings, options: Namespace) -> None:
    """What ``prepare`` would find and fetch."""
    from dataclasses import asdict

    from rich import box
    from rich.table import Table

    from themo.inventory import inventory

    items = inventory(settings, offline=options.offline)
    if options.json:
        _print_json({"items": [asdict(item) for item in items]})
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("what", "where", "state"):
        table.add_column(heading, overflow="fold")
    for item in items:
        table.add_row(item.name, item.place, item.state)
    _out().print(table)


def train(options: Namespace, resume_hint: list[str]) -> None:
    """``train``: one student into a version directory."""
    from themo.devices import resolve_device
    from themo.preparation import prepare_data
    from themo.tracking import Tracking, check_reachable, comparison_params, tracking_uri, ui_command
    from themo.training import train as train_student
    from themo.versions import new_version, read_progress, read_settings

    if options.resume is not None:
        _refuse_settings(options, "--resume")
        settings = read_settings(options.resume)
        done = int(read_progress(options.resume)["pairs_seen"])
    else:
        settings, done = _settings(options), 0
    resolve_device(settings.training.device)
    logs_dir = Path(settings.paths.logs_dir)
    check_reachable(tracking_uri(logs_dir))
    data = prepare_data(settings)
    with Tracking(tracking_uri(logs_dir), settings.paths.experiment) as tracking:
        version = options.resume or new_version(logs_dir, settings.paths.experiment)
        run = tracking.start(
            f"{settings.paths.experiment}/{version.name}",
            comparison_params(settings.leaves()),
            artifact=settings.model_dump(mode="json"),
            tags={"themo.kind": "train", "themo.version": str(version)},
        )
        total = round(settings.training.epochs * data.pairs_an_epoch)
        status: Status = "FAILED"
        try:
            with track("Training", total - done, "pairs") as advance:

                def report(last: Report) -> None:
                    last.save(version)
                    resume_hint[:] = [f"python -m themo train --resume {version}"]
                    run.report(last.metrics, step=int(last.metrics["pairs_seen"]))
                    _print_report(last)

                last = train_student(
                    settings,
                    data,
                    report=report,
                    resume=options.resume,
                    on_step=lambda pairs, loss: advance(pairs, f"loss {loss:.4f}"),
                )
            status = "FINISHED"
        except KeyboardInterrupt:
            status = "KILLED"
            raise
        finally:
            run.finish(status)
    best = last.metrics[f"best/{settings.objective}"]
    _out().print(f"{version}  best {settings.objective} {best:.4f}")
    if settings.benchmarks.names_tests and settings.data.targets is None:
        console.print(f"Test it:       python -m themo test --version-path {version}")
    console.print(f"Compare runs:  {ui_command(tracking.uri)}")


def test(options: Namespace, _resume_hint: list[str]) -> None:
    """``test``: scores of a version, the ceiling and baselines."""
    if options.version_path is None and not options.baseline:
        raise InputError("test: --version-path or --baseline must be given")
    from themo.tracking import tracking_uri, ui_command
    from themo.versions import read_settings

    if options.version_path is not None:
        if options.preset or options.config:
            raise InputError("test: --version-path brings its own settings; leave out --preset and --config")
        settings = read_settings(options.version_path).override(options.settings)
    else:
        settings = _settings(options)
    scores = _test(settings, options.version_path, options.task, options.baseline)
    if options.json:
        _print_json(scores.to_dict())
    else:
        _out().print(scores.to_table())
    console.print(f"Compare runs:  {ui_command(tracking_uri(Path(settings.paths.logs_dir)))}")


def _test(settings: Settings, version: Path | None, task: Task, baseline: bool) -> Scores:
    """Score, log to MLflow, and write ``test.json`` beside a version."""
    from themo.config import write_text
    from themo.scoring import score_version
    from themo.tracking import Tracking, comparison_params, tracking_uri

    with Tracking(tracking_uri(Path(settings.paths.logs_dir)), settings.paths.experiment) as tracking:
        scores = score_version(settings, version, task=task, baseline=baseline)
        run = tracking.start(
            f"test {version or 'baseline'}",
            comparison_params(settings.leaves()) if version else {},
            artifact=scores.to_dict(),
            tags={"themo.kind": "test", "themo.version": str(version or "")},
        )
        run.report(scores.to_metrics(), step=0)
        run.finish()
    if version is not None:
        write_text(version / "test.json", scores.to_json())
        console.print(f"Written: {version / 'test.json'}")
    return scores


def tune(options: Namespace, resume_hint: list[str]) -> None:
    """``tune``: a search; its winner as ``best.yaml`` and ``best/``, tested where there are images."""
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

    settings = _settings(options)
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
        given = {name: value for name, value in changes.items() if value is not None}
        space = replace(space, search=space.search.model_copy(update=given))
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
            tested = _test(winner, best, "all", baseline=False)
        except InputError as error:  # the search is done: its result must not be lost
            console.print(f"Not tested: {error}")
    if options.json:
        _print_json(result.to_json() | ({"test": tested.to_dict()} if tested else {}))
    else:
        _out().print(table(result, search.space.dimensions))
        if tested:
            _out().print(tested.to_table())
    console.print(
        f"Reproduce it:  python -m themo train --config {result.folder / 'best.yaml'}", soft_wrap=True
    )
    if tested:
        console.print(f"Test it:       python -m themo test --version-path {best}")
    console.print(
        f"Compare runs:  {ui_command(tracking_uri(Path(search.settings.paths.logs_dir)))}", soft_wrap=True
    )


def _settings(options: Namespace) -> Settings:
    return load(options.config, options.preset, options.settings)


def _refuse_settings(options: Namespace, because: str) -> None:
    if options.settings or options.config or options.preset:
        raise InputError(f"{because} goes on with the settings it began with; leave out all settings")


def _refuse_new_search(options: Namespace) -> None:
    new = (
        "num_samples",
        "search_seed",
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


def _print_report(report: Report) -> None:
    metrics = report.metrics
    names = ("train/loss", "val/loss", "val/match@01", "val/retrieval@01")
    console.print(
        f"epoch {metrics['epoch']:5.2f}  "
        + "".join(f"{name} {metrics[name]:.4f}  " for name in names if name in metrics)
        + f"{metrics['pairs_per_second']:,.0f} pairs/s{'  *' if report.is_best else ''}"
    )


def _out() -> Console:
    return Console(highlight=False, soft_wrap=True)


def _print_json(result: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(result, indent=2, ensure_ascii=False) + "\n")


def _quiet_libraries() -> None:
    """Keep what users cannot act on from their screen."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    warnings.filterwarnings("ignore", module=r"(mlflow|ray|open_clip|timm|torch)\b")
