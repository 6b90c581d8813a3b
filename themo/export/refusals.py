"""Refusals of exports before any library of models is imported."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from themo.checkpoints.versions import read_run_summary
from themo.errors import InputError
from themo.models.runtimes.choice import PACKAGES as RUNTIME_PACKAGES
from themo.models.runtimes.choice import install_command
from themo.process.output import typed

FINISHED = ("finished", "stopped early")
"""States of a run's summary that allow an export."""

PACKAGES = RUNTIME_PACKAGES["onnx"]
"""Packages that a graph needs."""

IN_BFLOAT16 = ("transformers", "sentence-transformers")
"""Formats whose backbone may be stored in bfloat16."""


def refuse_unfinished(version: Path) -> None:
    """Refuse a version whose run is not finished.

    Raises:
        InputError: The run is not finished, or its summary is missing or damaged.
    """
    state = read_run_summary(version)["state"]
    if state not in FINISHED:
        raise InputError(
            f"{version}: its run must be finished to be exported, summary.json says {state!r}; "
            f"finish it with {typed('train', '--resume', version)}"
        )


def refuse_options(
    format_name: str, int8: bool, sentences: Path | None, repository: str | None, bf16: bool = False
) -> None:
    """Refuse options that do not go together.

    Raises:
        InputError: Options contradict each other, or `repository` is not a name of the hub.
    """
    if int8 and format_name != "onnx":
        raise InputError(f"--int8 is for --format onnx, got --format {format_name}")
    if bf16 and format_name not in IN_BFLOAT16:
        raise InputError(f"--bf16 is for --format {' and '.join(IN_BFLOAT16)}, got --format {format_name}")
    if sentences is not None and not int8 and format_name != "static":
        raise InputError("--sentences needs --int8, whose loss is measured on them, or --format static")
    if repository is not None:
        from themo.fetching.hub import refuse_repository

        refuse_repository(repository)


def refuse_model_name(name: str) -> None:
    """Refuse a name that no registry takes.

    Raises:
        InputError: The name has other characters than letters, digits, spaces and ``. _ -``.
    """
    if not re.fullmatch(r"[\w][\w .-]*", name):
        raise InputError(f"--register must be letters, digits, spaces and . _ -, got {name!r}")


def packages_of(format_name: str) -> Sequence[str]:
    """Return the packages that a format needs beyond Themo's own."""
    if format_name == "openvino":
        return RUNTIME_PACKAGES["openvino"]
    return PACKAGES if format_name in ("onnx", "mlflow", "immich") else ()


def refuse_missing_packages(option: str, packages: Sequence[str] = PACKAGES) -> None:
    """Refuse an option whose packages are missing, with the command that installs them.

    Args:
        option: The option, with its value if it has one.
        packages: Packages of the option, all in the extra `export`; default: those of a graph.

    Raises:
        InputError: A package is missing.
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise InputError(
            f"{option} needs the extra `export` (missing: {', '.join(missing)}): {install_command('export')}"
        )
