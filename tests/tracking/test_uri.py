import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

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
