"""MLflow's registry of models: a version's export is added to it once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from themo.errors import InputError
from themo.tracking.uri import reason_without_password, without_password

if TYPE_CHECKING:
    from mlflow import MlflowClient

STUDENT_TAG = "themo.student"
"""Tag of a registered version: digest of the student's files."""


@dataclass(frozen=True)
class Registered:
    """A model in the registry.

    Attributes:
        address: ``models:/<name>/<version>``.
        is_new: False where the same student was registered under this name before.
    """

    address: str
    is_new: bool = True

    def __str__(self) -> str:
        return self.address if self.is_new else f"{self.address} (registered before)"


def registered_before(client: MlflowClient, uri: str, name: str, student: str) -> Registered | None:
    """The entry of a student in the registry; None without one.

    Args:
        client: Client of the server.
        uri: Address of the server, for messages.
        name: Name of the registered model.
        student: Digest of the student's files.

    Raises:
        InputError: The server has no registry, refuses the name, or does not answer.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        known = client.search_model_versions(f"name = '{name}'")
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise _refusal(uri, name, error) from None
    same = (int(version.version) for version in known if version.tags.get(STUDENT_TAG) == student)
    number = max(same, default=None)
    return None if number is None else Registered(f"models:/{name}/{number}", is_new=False)


def register(
    client: MlflowClient, uri: str, experiment_id: str, run_id: str, folder: Path, name: str, student: str
) -> Registered:
    """Log a model into a run, and add it to the registry.

    Args:
        client: Client of the server.
        uri: Address of the server, for messages.
        experiment_id: MLflow's id of the run's experiment.
        run_id: MLflow's id of the run.
        folder: Folder of the model, with ``MLmodel``.
        name: Name of the registered model; created if missing.
        student: Digest of the student's files; empty: unknown.

    Raises:
        InputError: The server has no registry, refuses the name, or does not answer.
    """
    from mlflow.entities import LoggedModelStatus
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        model = client.create_logged_model(experiment_id, name=name, source_run_id=run_id)
        client.log_model_artifacts(model.model_id, str(folder))
        client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
        if not client.search_registered_models(f"name = '{name}'"):
            client.create_registered_model(name)
        made = client.create_model_version(
            name,
            source=model.artifact_location,
            run_id=run_id,
            model_id=model.model_id,
            tags={STUDENT_TAG: student} if student else None,
        )
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise _refusal(uri, name, error) from None
    return Registered(f"models:/{name}/{made.version}")


def _refusal(uri: str, name: str, error: Exception) -> InputError:
    reason = reason_without_password(uri, error)
    return InputError(f"MLflow at {without_password(uri)} rejected the model {name!r}: {reason}")
