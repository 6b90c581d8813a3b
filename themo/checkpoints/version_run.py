"""The run of a version in MLflow, as commands that come after its training add to it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from themo.checkpoints.versions import keep_run_keys, read_run_keys
from themo.config.settings import Settings
from themo.errors import InputError
from themo.tracking import runs
from themo.tracking.names import comparison_params, version_name
from themo.tracking.outbox import Outbox, left_behind
from themo.tracking.run_log import RunLog
from themo.tracking.uri import is_same_place, tracking_uri


@contextmanager
def tracking_of(
    settings: Settings, version: Path | None, *, must_answer: bool = True
) -> Iterator[runs.Tracking]:
    """The experiment of a version; at the end of the block wait for MLflow.

    Where records of the version's run are queued, further ones follow them there: sent first, they would make
    a second run.

    Args:
        settings: Of the version.
        version: Its directory; None: none.
        must_answer: That of `themo.tracking.runs.Tracking`.

    Raises:
        InputError: As of `themo.tracking.runs.Tracking`.
    """
    logs_dir, experiment = Path(settings.paths.logs_dir), settings.paths.experiment
    uri = tracking_uri(logs_dir)
    queued = _queue(logs_dir, version, uri, experiment)
    with runs.Tracking(
        uri, experiment, queued or runs.outbox_path(logs_dir), must_answer=must_answer
    ) as tracking:
        yield tracking


def join_run(tracking: runs.Tracking, version: Path, settings: Settings) -> RunLog:
    """The run that takes a version's scores: its own, or the search's of a search's best version.

    A version without a key, as of ``mlflow=False``, gets one.

    Where MLflow has no run of the key, as another server than that of the training, one is made and a line
    says so.
    """
    keys = read_run_keys(version)
    if not keys:
        keys = [uuid.uuid4().hex]
        keep_run_keys(version, *keys)
    return tracking.join(
        version_name(version, Path(settings.paths.logs_dir)),
        comparison_params(settings.leaves()),
        key=keys[-1],
        artifact=settings.model_dump(mode="json"),
        tags={"themo.kind": "train", "themo.version": str(version)},
    )


def _queue(logs_dir: Path, version: Path | None, uri: str, experiment: str) -> Path | None:
    """The outbox where records of a version's run wait for the same place; None without one."""
    keys = read_run_keys(version) if version is not None else []
    if not keys:
        return None
    # an outbox bears the key of a training, or the id of a search, which begins the keys of its trials
    owner = keys[0].partition("/")[0]
    for path in left_behind(runs.outbox_path(logs_dir).parent):
        if owner in path.name and not path.name.endswith(".aside.jsonl"):
            with suppress(InputError):  # another process has opened it since
                box = Outbox(path, None)
                box.close()
                if is_same_place(box.address["uri"], uri) and box.address["experiment"] == experiment:
                    return path
    return None
