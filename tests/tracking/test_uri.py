import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import make_url

from themo.errors import InputError
from themo.tracking import uri as module
from themo.tracking.uri import check_reachable, tracking_uri, ui_command, without_password


def test_the_database_is_absolute_and_a_server_goes_before_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert tracking_uri(Path("logs")) == f"sqlite:///{tmp_path}/logs/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server:5000")
    assert tracking_uri(Path("logs")) == "http://server:5000"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mine.db")
    assert tracking_uri(Path("logs")) == f"sqlite:///{tmp_path}/mine.db", "whatever a later working directory"
    for other in (f"sqlite:///{tmp_path}/a.db", "sqlite:///:memory:", "sqlite:///a.db?timeout=5"):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", other)
        assert tracking_uri(Path("logs")) == other


def test_how_to_open_the_ui():
    assert (
        ui_command("sqlite:////a/logs/mlflow.db")
        == "mlflow ui --backend-store-uri sqlite:////a/logs/mlflow.db"
    )
    assert ui_command("http://server:5000") == "open http://server:5000"


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "logs").write_text("a file")
    with pytest.raises(InputError, match=r"--logs-dir: sqlite:.* cannot be written: "):
        check_reachable(f"sqlite:///{tmp_path / 'logs' / 'deep' / 'mlflow.db'}")


@pytest.mark.parametrize("uri", ["file:///tmp/mlruns", "./mlruns"])
def test_folders_are_no_store(uri):
    with pytest.raises(InputError, match=r"MLFLOW_TRACKING_URI: must be a server .* or a database"):
        check_reachable(uri)


def test_an_address_where_nobody_listens_is_refused():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(InputError, match=rf"no MLflow server answers at {uri}: .*refused"):
            check_reachable(uri)


def test_a_server_that_never_answers_is_refused(monkeypatch):
    monkeypatch.setattr(module, "_REACH_SECONDS", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(InputError, match=rf"no MLflow server answers at {uri}: .*timed out"):
            check_reachable(uri)


def test_a_listener_that_is_no_server_is_refused():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        uri = f"http://127.0.0.1:{listener.getsockname()[1]}"

        def greet() -> None:
            with listener.accept()[0] as connection:
                connection.recv(1000)
                connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        with pytest.raises(InputError, match=rf"no MLflow server answers at {uri}: SSH-2.0"):
            check_reachable(uri)
        thread.join()


def test_a_password_in_the_address_is_used_and_never_shown():
    with _server(200) as uri:
        check_reachable(uri.replace("//", "//someone:secret@"))
        assert ui_command(uri.replace("//", "//someone:secret@")) == f"open {uri}"
    database = "postgresql://someone:secret@db/mlflow"
    assert ui_command(database) == 'mlflow ui --backend-store-uri "$MLFLOW_TRACKING_URI"'
    database = "postgresql://db/mlflow?user=someone&password=secret&sslmode=require"
    assert ui_command(database) == 'mlflow ui --backend-store-uri "$MLFLOW_TRACKING_URI"'
    assert without_password(database) == "postgresql://db/mlflow?user=someone&sslmode=require"
    with pytest.raises(InputError) as caught:
        check_reachable(uri.replace("//", "//someone:secret@"))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "secret", ["s3cr/et", "p#ss", "p?ss", "p@ss", "p:ss", "p?a=b&c", "p%40ss", "[p]/", ""]
)
def test_any_password_of_a_database_is_left_out(secret):
    assert without_password(f"postgresql://ana:{secret}@db:5432/mlflow") == "postgresql://db:5432/mlflow"
    assert without_password(f"mysql+pymysql://ana:{secret}@[::1]/x?a=b") == "mysql+pymysql://[::1]/x?a=b"
    assert without_password(f"ana:{secret}@server:5000") == "server:5000", "the scheme was forgotten"


@pytest.mark.parametrize(
    "key", ["password", "passwd", "PassWord", "sslpassword", "ssl_key_password", "pass%77d"]
)
def test_secret_query_parameters_are_left_out(key):
    assert (
        without_password(f"mysql://db/mlflow?user=ana&{key}=s3cr/et@x&a=%20+")
        == "mysql://db/mlflow?user=ana&a=%20+"
    )
    assert without_password(f"mysql://db/mlflow?{key}=s3cr") == "mysql://db/mlflow"


def test_the_password_of_an_odbc_string_is_left_out():
    odbc = "mssql+pyodbc:///?odbc_connect="
    for password in ("PWD=s3cr%3B", "+Pwd+%3D+%7Ba%3B%7D%7Db%7D%3B", "password%3Ds3cr%3b"):
        assert (
            without_password(f"{odbc}SERVER%3Ddb%3B{password}UID%3Dana") == f"{odbc}SERVER%3Ddb%3BUID%3Dana"
        )
    assert without_password(f"{odbc}SERVER=db;UID=ana") == f"{odbc}SERVER=db;UID=ana", "as it was"


@pytest.mark.parametrize(
    "uri",
    [
        "sqlite:////home/a@b/c:d@e/mlflow.db",
        "postgresql://db/ml@x?application_name=a@b",
        "http://server:5000/path?x=a%20b",
        "./a@b",
        "databricks://profile:place",
    ],
)
def test_an_address_without_a_password_is_unchanged(uri):
    assert without_password(uri) == uri


_word = st.text("ab1.-", min_size=1, max_size=5)
_secret = st.text("a:/?#%&=+[]. ", max_size=8)


@given(_word, _secret, _word, st.none() | st.integers(0, 65535), st.text("ab/%#:", max_size=5))
def test_the_user_info_ends_where_sqlalchemy_ends_it(user, password, host, port, database):
    uri = f"postgresql://{user}:{password}@{host}{'' if port is None else f':{port}'}/{database}?a=b"
    parsed = make_url(uri)
    assert parsed.password is not None
    kept = without_password(uri)
    assert make_url(kept) == parsed._replace(username=None, password=None)
    assert without_password(kept) == kept


@pytest.mark.parametrize(
    "uri",
    [
        "http://[x:s3cr",
        "http://ana:s3cr/et@server",
        "http://ana:s3cr#et@server",
        "https://ana:12/s3cr@server",
        "http://server:s3cr",
        "postgresql://ana:p[s3cr@db/mlflow",
        "postgresql://ana:p@s3cr@db/mlflow",
        "postgresql://ana:p@a/s3cr@db/mlflow",
        "postgresql://db:s3cr/mlflow",
        "http://[s3cr]:5000",
    ],
)
def test_an_invalid_address_is_refused_and_not_printed(uri, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(
        InputError, match=r"^MLFLOW_TRACKING_URI: must be a valid address .* %2F for /$"
    ) as error:
        tracking_uri(Path("logs"))
    assert "s3cr" not in str(error.value)
    without_password(uri)
    ui_command(uri)


@pytest.mark.parametrize(
    "uri",
    [
        "http://ana:s%2Fx@[::1]:5000/mlflow/",
        "postgresql://ana:s3cr/e?t#@db:5432/mlflow?application_name=a@b",
        "postgresql:///mlflow?host=/run/postgresql",
        "mssql+pyodbc:///?odbc_connect=DRIVER%3D%7Bx%7D",
        "databricks://profile:place",
        "databricks",
        "sqlite:////a@b/[c]/d:e.db",
    ],
)
def test_a_valid_address_is_returned_as_it_is(uri, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert tracking_uri(Path("logs")) == uri


def test_a_failing_server_is_refused_but_not_a_protected_one():
    with _server(503) as uri, pytest.raises(InputError, match=r"answers at http.*: HTTP status 503"):
        check_reachable(uri)
    with _server(401) as uri:
        check_reachable(uri)
    with _server(200) as uri:
        check_reachable(f"{uri}/")


@contextmanager
def _server(status: int) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/health" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
