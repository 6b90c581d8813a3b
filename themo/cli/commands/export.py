"""``export``: write a version in the format of another tool, with a model card."""

from __future__ import annotations

import json
import shlex
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from themo.cli.addressing import VERSION_HELP, add_run, find_version, given_run
from themo.cli.options import Parser, add_json, add_settings, path
from themo.config.settings import Settings
from themo.errors import InputError
from themo.export import FORMATS
from themo.process.devices import let_threads_sleep
from themo.process.output import print_json, print_result
from themo.process.progress import console, waiting

if TYPE_CHECKING:
    from themo.export.source import Source
    from themo.tracking.registry import Registered

SUMMARY = "Write a student in the format of another tool, with a model card."
USAGE = "python -m themo export [NAME] [OPTION ...]"
EXAMPLES = """\
  python -m themo export --format transformers --output es
  python -m themo export VERSION --format onnx --int8 --output es-onnx
  python -m themo export VERSION --format open_clip --output es-clip \\
      --push-to OWNER/es-clip
  python -m themo export VERSION --format immich --output es-immich
  python -m themo export VERSION --format static --output es-static
  python -m themo export VERSION --format transformers --bf16 --output es-bf16
  python -m themo export NAME --format mlflow --output es-mlflow --register es
"""


def add_options(parser: Parser) -> None:
    """Add the command's options."""
    group = parser.add_argument_group("export")
    add = group.add_argument
    add_run(parser, group, VERSION_HELP)
    add(
        "--format",
        choices=tuple(FORMATS),
        required=True,
        metavar="FORMAT",
        help=f"format to write: {', '.join(FORMATS)}",
    )
    add("--output", type=path, required=True, metavar="DIR", help="output folder, empty or new")
    add("--int8", action="store_true", help="onnx: also an 8-bit graph, with its measured loss of quality")
    add(
        "--bf16",
        action="store_true",
        help="transformers, sentence-transformers: weights of the backbone in bfloat16, half the size",
    )
    add(
        "--sentences",
        type=path,
        metavar="FILE",
        help="--int8: Spanish sentences for the measurement, one per line; static: sentences to learn from "
        "(the version's own pairs)",
    )
    add(
        "--register",
        metavar="NAME",
        help="mlflow: name to register the model under in MLflow (not registered)",
    )
    add("--push-to", metavar="REPO", help="upload to this Hugging Face repository, OWNER/NAME (no upload)")
    add_settings(parser, ("paths",))
    add_json(parser)


def run(options: Namespace, resume_hint: list[str]) -> None:
    """Run the command."""
    given = given_run(options)
    let_threads_sleep()
    _refuse(options)
    from themo.checkpoints.versions import find_part, read_summary
    from themo.export.refusals import FINISHED, refuse_unfinished

    def is_finished(version: Path, _settings: Settings) -> bool:
        return read_summary(version).get("state") in FINISHED

    version = find_version(given, options.settings, "to export", is_finished)
    refuse_unfinished(version)
    find_part(version, "student")
    with waiting("Loading libraries"):
        from themo.export.exporting import export_version
        from themo.export.source import Source
        from themo.fetching.hub import push_folder
    with waiting("Loading the student"):
        source = Source.open(version, options.settings)
    if options.register is not None:
        from themo.tracking.uri import check_reachable, tracking_uri

        check_reachable(tracking_uri(Path(source.settings.paths.logs_dir)))  # before minutes of work
    export = export_version(
        source,
        options.format,
        options.output,
        int8=options.int8,
        bf16=options.bf16,
        sentences=options.sentences,
        repository=options.push_to,
    )
    resume_hint.clear()  # the folder is no longer empty: the same command would be refused
    if options.push_to is not None or options.register is not None:
        console.print(f"Written:       {export.folder}", soft_wrap=True)
    address = registered = None
    if options.push_to is not None:
        resume_hint[:] = [shlex.join(["hf", "upload", options.push_to, str(export.folder), "."])]
        address = push_folder(export.folder, options.push_to)
    if options.register is not None:
        with waiting("Registering the model"):
            registered = _register(source, export.folder, options.register)
    if options.json:
        print_json(
            {
                "folder": str(export.folder),
                "format": export.format,
                "dimension": export.dimension,
                "notes": export.notes,
                **({"int8": export.int8.to_dict()} if export.int8 else {}),
                **({"hub": address} if address else {}),
                **({"registered": registered.address} if registered else {}),
            }
        )
        return
    for note in export.notes:
        console.print(f"Note: {note}", highlight=False)
    print_result(f"{export.folder}  vectors of {export.dimension} dimensions, model card in README.md")
    if address:
        console.print(f"On the hub:    {address}", soft_wrap=True)
    if registered:
        console.print(f"Registered:    {registered}", soft_wrap=True)


def _refuse(options: Namespace) -> None:
    from themo.export.folders import refuse_taken
    from themo.export.refusals import packages_of, refuse_missing_packages, refuse_options

    refuse_options(options.format, options.int8, options.sentences, options.push_to, options.bf16)
    _refuse_places(options)
    refuse_missing_packages(f"--format {options.format}", packages_of(options.format))
    refuse_taken(options.output)


def _refuse_places(options: Namespace) -> None:
    if options.format != "mlflow":
        if options.register is not None:
            raise InputError(f"--register is for --format mlflow, got --format {options.format}")
        return
    if options.push_to is not None:
        raise InputError(
            "--push-to must have a format of the hub's libraries, got --format mlflow; "
            "--register NAME adds the model to MLflow's registry"
        )
    if options.register is not None:
        from themo.export.refusals import refuse_model_name

        refuse_model_name(options.register)


def _register(source: Source, folder: Path, name: str) -> Registered:
    """Log the model to the MLflow of the settings and register it."""
    from themo.export.registering import digest_of_student
    from themo.tracking.names import comparison_params, version_name
    from themo.tracking.projection import Run
    from themo.tracking.runs import one_run
    from themo.tracking.uri import tracking_uri

    settings = source.settings
    logs_dir = Path(settings.paths.logs_dir)
    student = digest_of_student(source.version)
    run = Run(
        f"export-{student}",  # the same student has one such run
        f"export {version_name(source.version, logs_dir)}",
        comparison_params(settings.leaves()),
        {"themo.kind": "export", "themo.version": str(source.version)},
        files={"settings.json": json.dumps(settings.model_dump(mode="json"), indent=2, ensure_ascii=False)},
    )
    with one_run(tracking_uri(logs_dir), settings.paths.experiment, run) as tracking:
        return tracking.register(run.key, folder, name, student)
