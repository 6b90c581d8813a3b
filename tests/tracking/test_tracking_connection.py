"""The connection to MLflow: databases and experiments, new, old and shared."""

import re
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, nullcontext
from pathlib import Path
from typing import Any

import pytest

from benchmarks.chaos.server import ServerOnSqlite
from themo.errors import InputError
from themo.tracking import connection
from themo.tracking.connection import open_experiment

# what mlflow and sqlalchemy do among themselves
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.mark.slow
def test_processes_that_open_a_new_database_at_once(tmp_path: Path) -> None:
    """MLflow itself makes its tables step by step, and fails where another process is at it."""
    script = (
        "import sys; import mlflow; from themo.tracking.connection import open_experiment\n"
        "print('ready', flush=True)\n"
        "for line in sys.stdin: print(open_experiment(line.strip(), 'at once')[1], flush=True)"
    )
    command = [sys.executable, "-c", script]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with ExitStack() as stack:
        processes = [stack.enter_context(subprocess.Popen(command, text=True, **pipes)) for _ in range(3)]
        assert [process.stdout.readline() for process in processes] == ["ready\n"] * 3
        for i in range(3):
            (tmp_path / str(i)).mkdir()
            for process in processes:
                process.stdin.write(f"sqlite:///{tmp_path / str(i) / 'mlflow.db'}\n")
                process.stdin.flush()
            assert [process.stdout.readline() for process in processes] == ["1\n"] * 3


def _make_at_once(uri: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids that two processes get if both ask for an experiment before either makes it."""
    from mlflow import MlflowClient

    plain, both = MlflowClient.get_experiment_by_name, threading.Barrier(2, timeout=60)
    asked: set[int] = set()

    def ask(client: MlflowClient, name: str) -> Any:
        answer = plain(client, name)
        if threading.get_ident() not in asked:
            asked.add(threading.get_ident())
            both.wait()
        return answer

    monkeypatch.setattr(connection, "_alone", lambda _: nullcontext())
    monkeypatch.setattr(MlflowClient, "get_experiment_by_name", ask)
    with ThreadPoolExecutor(2) as threads:
        made = [threads.submit(lambda: open_experiment(uri, "both")[1]) for _ in range(2)]
        return [each.result() for each in made]


def test_two_that_make_an_experiment_at_once_get_the_same(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    open_experiment(uri, "first")  # makes the tables
    first, second = _make_at_once(uri, monkeypatch)
    assert first == second


@pytest.mark.slow
def test_concurrent_creators_of_an_experiment_share_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ServerOnSqlite(tmp_path) as server:
        first, second = _make_at_once(server.uri, monkeypatch)
    assert first == second


def test_a_database_of_an_older_mlflow_names_the_upgrade(uri: str, tmp_path: Path) -> None:
    from alembic.script import ScriptDirectory
    from mlflow.store.db.utils import _get_alembic_config

    open_experiment(uri, "older")
    path = tmp_path / "mlflow.db"
    path.write_bytes(Path(uri.removeprefix("sqlite:///")).read_bytes())
    _, older = [r.revision for r in ScriptDirectory.from_config(_get_alembic_config(uri)).walk_revisions()][
        :2
    ]
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE alembic_version SET version_num = ?", (older,))
        database.commit()
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"mlflow\.db cannot be used: .*run 'mlflow db upgrade") as refused:
        open_experiment(f"sqlite:///{path}", "older")
    assert "\n" not in str(refused.value)
    assert path.read_bytes() == before


def test_a_database_of_another_version_of_mlflow(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        database.execute("INSERT INTO alembic_version VALUES ('0123456789ab')")
        database.commit()
    with pytest.raises(InputError, match="cannot be used: Can't locate revision"):
        open_experiment(f"sqlite:///{path}", "other")


def test_a_deleted_experiment_is_refused(uri: str) -> None:
    client, experiment_id = open_experiment(uri, "deleted")
    client.delete_experiment(experiment_id)
    with pytest.raises(InputError, match=r"MLflow experiment 'deleted' at sqlite:.* was deleted"):
        open_experiment(uri, "deleted")


def test_a_file_that_is_no_database_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("mlflow.store.db.utils.time.sleep", waits.append)
    (tmp_path / "mlflow.db").write_text("this is no database at all, and long enough to be looked at" * 20)
    with pytest.raises(InputError, match=r"MLflow at sqlite:///.*mlflow.db cannot be used: ") as error:
        open_experiment(f"sqlite:///{tmp_path / 'mlflow.db'}", "any")
    assert "\n" not in str(error.value)
    assert waits == []


@pytest.mark.parametrize(
    ("scheme", "module", "package"),
    [
        ("postgresql+psycopg2", "psycopg2", "psycopg2-binary"),
        ("postgresql+psycopg", "psycopg", r"psycopg\[binary\]"),
        ("mysql", "MySQLdb", "mysqlclient"),
        ("mysql+pymysql", "pymysql", "pymysql"),
    ],
)
def test_a_missing_driver_names_its_package(
    monkeypatch: pytest.MonkeyPatch, scheme: str, module: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    message = rf"MLflow at {re.escape(scheme)}://db/x needs the driver {module}, .*: pip install '{package}'$"
    with pytest.raises(InputError, match=message):
        open_experiment(f"{scheme}://ana:s3cr@db/x", "any")


def test_a_refused_connection_is_named_in_one_short_line() -> None:
    with pytest.raises(InputError) as error:
        open_experiment("http://127.0.0.1:1", "any")
    assert str(error.value).startswith("MLflow at http://127.0.0.1:1 cannot be used: [Errno ")
    assert str(error.value).endswith("] Connection refused")
