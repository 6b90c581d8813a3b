"""The MLflow server and experiment of a search, saved in its directory for all later sessions."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from themo.errors import InputError
from themo.files.atomic import write_text
from themo.process.output import with_command
from themo.tracking.comparison import UI_ADDRESS, view_address
from themo.tracking.tracked import TRACKING_FILE, TrackedExperiment, read_tracked
from themo.tracking.unsent import Destination
from themo.tracking.uri import (
    URI_VARIABLE,
    default_uri,
    is_same_place,
    tracking_uri,
    ui_command,
    without_password,
)


def has_place(folder: Path) -> bool:
    """Whether the server and the experiment of a search are saved."""
    return (folder / TRACKING_FILE).exists()


def refuse_another_place(folder: Path, experiment: str, asked_by: str = "--resume") -> None:
    """Refuse to log to another server or experiment than the search did so far, if that is known.

    Args:
        folder: The search directory.
        experiment: Name of the requested experiment, at `tracking_uri`.
        asked_by: The option or command that an error message names.

    Raises:
        InputError: The server or the experiment differs, or the file is damaged.
    """
    known, path = read_tracked(folder), folder / TRACKING_FILE
    if known is None:
        return
    was = known.uri or default_uri(_logs_dir(folder))
    now = tracking_uri(_logs_dir(folder))
    if is_same_place(was, now) and known.experiment == experiment:
        return
    if not is_same_place(was, now):
        mend = f"set {URI_VARIABLE} to the former" if known.uri else f"unset {URI_VARIABLE}"
    else:
        mend = "name the former in search.yaml"
    raise InputError(
        f"{asked_by}: {path}: the search logs to {without_password(was)}, experiment {known.experiment!r}, "
        f"requested is {without_password(now)}, experiment {experiment!r}: {mend}; or, to log to the latter "
        "from now on, remove that file"
    )


def keep_place(folder: Path, experiment: str, experiment_id: str | None, uri: str | None = None) -> None:
    """Save the server and the experiment of a search, unless they are saved.

    Args:
        folder: The search directory.
        experiment: Name of the experiment.
        experiment_id: MLflow's id of the experiment, if known.
        uri: Server or database; None: that of the environment.

    Raises:
        OSError: The disk is full.
    """
    known, logs_dir = read_tracked(folder), _logs_dir(folder)
    uri = uri or tracking_uri(logs_dir)
    is_there = known is not None and is_same_place(known.uri or default_uri(logs_dir), uri)
    if is_there and known is not None and experiment_id in (None, known.experiment_id):
        return
    place = TrackedExperiment(Destination.of(uri, experiment, logs_dir).uri, experiment, experiment_id)
    write_text(folder / TRACKING_FILE, json.dumps(asdict(place), indent=1, ensure_ascii=False) + "\n")


@dataclass(frozen=True)
class Comparison:
    """Command and address that show the trials of a search side by side in MLflow.

    Attributes:
        command: Command that starts MLflow's page, or the server's address.
        address: Page that compares the trials on their settings; None if the experiment's id is unknown.
    """

    command: str
    address: str | None

    def __str__(self) -> str:
        if self.address is None:
            return self.command
        return (
            self.address if self.command.startswith("open ") else f"{self.command}; then open {self.address}"
        )

    def lines(self, screen: Console | None = None) -> list[str]:
        """The command and the address as lines; `screen` as in `with_command`."""
        lines = [with_command("Compare runs:  ", self.command, screen)]
        return lines if self.address is None else [*lines, f"Its trials:    {self.address}"]


def comparison_of(folder: Path, uid: str) -> Comparison:
    """Return command and address that compare the trials of a search, independent of the environment.

    Args:
        folder: The search directory.
        uid: The search's id.

    Raises:
        InputError: The file of the server and the experiment is damaged.
    """
    known, command = read_tracked(folder), command_to_see(folder)
    if known is None or known.experiment_id is None:
        return Comparison(command, None)
    server = known.uri if known.uri and known.uri.startswith("http") else UI_ADDRESS
    return Comparison(command, view_address(server, known.experiment_id, uid))


def command_to_see(folder: Path) -> str:
    """The command or address that shows a search's runs in MLflow, independent of the environment.

    Raises:
        InputError: The file is damaged.
    """
    known, now = read_tracked(folder), tracking_uri(_logs_dir(folder))
    was = now if known is None else known.uri or default_uri(_logs_dir(folder))
    return ui_command(now if is_same_place(was, now) else was)  # only the environment has the password


def uri_of(folder: Path) -> str:
    """The address of a search's runs: that of the environment, or else the saved one.

    Raises:
        InputError: The file is damaged.
    """
    known = read_tracked(folder)
    if os.environ.get(URI_VARIABLE) or known is None or known.uri is None:
        return tracking_uri(_logs_dir(folder))
    return known.uri


def _logs_dir(folder: Path) -> Path:
    return folder.parent.parent
