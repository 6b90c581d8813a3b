"""Databases that MLflow has opened before, recognised without it."""

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from themo.tracking.connection import open_experiment
from themo.tracking.known_databases import opens

# what mlflow and sqlalchemy do among themselves
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a database in which MLflow has made experiments."""
    folder = tmp_path_factory.mktemp("opened")
    for name in ("known", "deleted"):
        client, number = open_experiment(f"sqlite:///{folder / 'mlflow.db'}", name)
    client.delete_experiment(number)
    return folder


@pytest.fixture
def folder(opened: Path, tmp_path: Path) -> Path:
    for path in opened.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def known(folder: Path, experiment: str = "known") -> bool:
    return opens(f"sqlite:///{folder / 'mlflow.db'}", experiment)


def test_an_opened_database_is_known_with_its_experiment(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert known(folder)
    assert not known(folder, "deleted")
    assert not known(folder, "new")
    assert not opens("http://127.0.0.1:1", "known")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_database_of_another_schema_is_unknown(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        database.execute("UPDATE alembic_version SET version_num = '0123456789ab'")
        database.commit()
    assert not known(folder)


def test_a_database_that_another_mlflow_opened_is_unknown(folder: Path) -> None:
    note = folder / ".mlflow.db.opened"
    content = json.loads(note.read_text(encoding="utf-8"))
    note.write_text(json.dumps(content | {"mlflow": "2.0"}), encoding="utf-8")
    assert not known(folder)


@pytest.mark.parametrize("name", ["mlflow.db", ".mlflow.db.opened"])
@pytest.mark.parametrize("content", [None, b"", b"no database, and no note"])
def test_missing_and_damaged_files_are_unknown(folder: Path, name: str, content: bytes | None) -> None:
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    assert not known(folder)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_database_that_cannot_be_written_is_unknown(folder: Path) -> None:
    (folder / "mlflow.db").chmod(0o400)
    assert not known(folder)
