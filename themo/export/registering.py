"""The registration of a version in MLflow's registry of models."""

from __future__ import annotations

import hashlib
from pathlib import Path
from tempfile import TemporaryDirectory

from themo.checkpoints.versions import find_part
from themo.tracking.registry import Registered
from themo.tracking.runs import Tracking


def digest_of_student(version: Path) -> str:
    """SHA-256 of a version's student, which identifies it in the registry."""
    folder, digest = find_part(version, "student"), hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(f"{path.relative_to(folder)} {path.stat().st_size}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def register_version(version: Path, name: str, tracking: Tracking, key: str) -> Registered:
    """Write a version in the format `mlflow` and register it, unless it is registered under this name.

    Args:
        version: The version directory.
        name: Name of the registered model.
        tracking: The experiment of the run.
        key: Key of the run that the model belongs to.

    Raises:
        InputError: The student cannot be exported, or the server refuses it or does not answer.
    """
    from themo.export.exporting import export_version
    from themo.export.source import Source

    student = digest_of_student(version)
    known = tracking.registered_before(name, student)
    if known is not None:
        return known
    with TemporaryDirectory() as folder:
        export = export_version(Source.open(version), "mlflow", Path(folder) / "model")
        return tracking.register(key, export.folder, name, student)
