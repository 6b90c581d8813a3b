"""``prepare``: make corpus, teacher vectors and tokens; fetch test data on request."""

from __future__ import annotations

import os
from argparse import Namespace

from themo.cli.options import Parser, add_json, add_presets, add_settings
from themo.config.settings import Settings
from themo.config.worlds import load_for_training, toy_parts
from themo.process.garbage import uncollected
from themo.process.output import print_json, print_result
from themo.process.progress import console, waiting

SUMMARY = "Prepare all data for training and tests, and cache it."
USAGE = "python -m themo prepare [OPTION ...]"
EXAMPLES = """\
  python -m themo prepare
  python -m themo prepare --preset vit-l-14-beto --tests --dry-run
"""


def add_options(parser: Parser) -> None:
    """Add the command's options."""
    group = parser.add_argument_group("preparation")
    group.add_argument(
        "--tests", action="store_true", help="also fetch the test data, into the folders of the settings"
    )
    group.add_argument("--dry-run", action="store_true", help="list present and missing data; fetch nothing")
    group.add_argument("--offline", action="store_true", help="no network access")
    add_presets(parser)
    add_settings(parser, ("data", "teacher", "student", "benchmarks", "paths"))
    add_json(parser)


def run(options: Namespace, _resume_hint: list[str]) -> None:
    """Run the command."""
    if options.offline:
        os.environ["HF_HUB_OFFLINE"] = "1"  # before the hub's client is imported
    settings = load_for_training(options.config, options.preset, options.settings)
    for line in toy_parts(settings):
        console.print(line, soft_wrap=True)
    if options.dry_run:
        _describe(settings, options)
        return
    from themo.data.sources import Sources, refuse_missing_files

    refuse_missing_files(settings)
    Sources(settings).fetch_repositories()  # before the slow imports
    with waiting("Loading libraries"), uncollected():
        from themo.data.preparation import prepare_data

    from themo.data.test_files import fetch_captions, fetch_parts

    if not options.tests:
        fetch_captions(settings, offline=options.offline)
    else:
        from themo.evaluation.encoders import fetch_models

        fetch_parts(settings, offline=options.offline)
        fetch_models(settings)
    data = prepare_data(settings)
    result = {
        "train_pairs": len(data.train),
        "validation_pairs": len(data.validation),
        "dimension": data.dimension,
        "tokens_a_sentence": float(len(data.train.ids) / len(data.train)),
        "cache_dir": settings.paths.cache_dir,
    }
    if options.json:
        print_json(result)
    else:
        print_result(
            f"{len(data.train):,} training and {len(data.validation):,} validation pairs, teacher vectors of "
            f"{data.dimension} dimensions, ready in {settings.paths.cache_dir}"
        )


def _describe(settings: Settings, options: Namespace) -> None:
    """Print what ``prepare`` would find and fetch."""
    from dataclasses import asdict

    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from themo.data.inventory import inventory

    items = inventory(settings, offline=options.offline)
    if options.json:
        print_json({"items": [asdict(item) for item in items]})
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for heading in ("what", "where", "state"):
        table.add_column(heading, overflow="fold")
    for item in items:
        table.add_row(escape(item.name), escape(item.place), item.state)
    print_result(table)
