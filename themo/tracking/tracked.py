"""The file of a search with the MLflow server and the experiment that have its runs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from themo.errors import InputError

TRACKING_FILE = "tracking.json"


@dataclass(frozen=True)
class TrackedExperiment:
    """An MLflow server or database, and an experiment.

    Attributes:
        uri: Address without a password; None: the database beside the logs, which may move with them.
        experiment: Name of the experiment.
        experiment_id: MLflow's id of the experiment; None before a server has answered, and in older
            searches.
    """

    uri: str | None
    experiment: str
    experiment_id: str | None = None


def read_tracked(folder: Path) -> TrackedExperiment | None:
    """Read the place of a search's runs from its directory; None: unknown.

    Raises:
        InputError: The file is damaged.
    """
    path = folder / TRACKING_FILE
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        uri, experiment, experiment_id = tree["uri"], tree["experiment"], tree.get("experiment_id")
        are_names = all(name is None or isinstance(name, str) for name in (uri, experiment_id))
        if not are_names or not isinstance(experiment, str):
            raise TypeError
    except FileNotFoundError:  # older version, or no session has started
        return None
    except (ValueError, KeyError, TypeError):
        raise InputError(
            f"{path}: must name the uri and the experiment of the search's runs: correct it, or remove it to "
            "log to the requested experiment"
        ) from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    return TrackedExperiment(uri, experiment, experiment_id)
