"""Answers of a proxy and of MLflow itself, and their effect on the parts of a run."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from themo.errors import InputError
from themo.tracking.answers import UnreachableError
from themo.tracking.mirror import Mirror
from themo.tracking.projection import Point, Projection, Run
from themo.tracking.registry import registered_before

# what mlflow and sqlalchemy do among themselves
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")

RUN = Run("k", "run", status="RUNNING")
REPORTED = replace(RUN, points=(Point(10, 2000, {"a": 1.0}),))


def bring(mirror: Mirror, run: Run) -> None:
    mirror.sync(Projection((run,)))


class Proxy(ThreadingHTTPServer):
    """The routes of MLflow's server that these tests need, behind a proxy that answers in its place.

    Attributes:
        answer: Status and body of the proxy's answer to all about runs; None: it lets them pass.
        logged: The paths that it let pass.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.uri = f"http://127.0.0.1:{self.server_port}"
        self.answer: tuple[int, str] | None = None
        self.logged: list[str] = []

    def answer_to(self, path: str) -> tuple[int, str]:
        what = path.partition("/mlflow/")[2].partition("?")[0]
        if what.startswith("experiments/"):
            experiment = {"experiment_id": "1", "name": "any", "lifecycle_stage": "active"}
            return 200, json.dumps({"experiment": experiment})
        if self.answer is not None:
            return self.answer
        self.logged.append(what)
        info = {"run_id": "r", "run_uuid": "r", "experiment_id": "1", "status": "RUNNING"}
        return 200, json.dumps({"run": {"info": info, "data": {}}} if what == "runs/create" else {})


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Proxy)
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, body = self.server.answer_to(self.path)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 409, 413, 429, 502])
@pytest.mark.parametrize("body", ["<html>not now</html>", '{"message": "no route matched"}', ""])
def test_answers_of_a_proxy_are_retried(proxy: Proxy, status: int, body: str) -> None:
    mirror = Mirror(proxy.uri, "any")
    for run in (RUN, REPORTED):
        proxy.answer = (status, body)
        with pytest.raises(UnreachableError):
            bring(mirror, run)
        proxy.answer = None
        bring(mirror, run)
    assert proxy.logged.count("runs/log-batch") == 1
    assert mirror.n_rejected == 0


@pytest.mark.parametrize(
    ("status", "error_code", "is_rejected"),
    [
        (400, "INVALID_PARAMETER_VALUE", True),
        (404, "RESOURCE_DOES_NOT_EXIST", True),
        (401, "UNAUTHENTICATED", False),
        (403, "PERMISSION_DENIED", False),
        (429, "REQUEST_LIMIT_EXCEEDED", False),
        (500, "INTERNAL_ERROR", False),
        (503, "TEMPORARILY_UNAVAILABLE", False),
    ],
)
def test_answers_of_mlflow_itself(proxy: Proxy, status: int, error_code: str, is_rejected: bool) -> None:
    printed: list[str] = []
    mirror = Mirror(proxy.uri, "any", printed.append)
    bring(mirror, RUN)
    proxy.answer = (status, json.dumps({"error_code": error_code, "message": "because"}))
    if is_rejected:
        bring(mirror, REPORTED)
        assert printed == [f"rejected metrics at step 10 of 'run'; dropped: {error_code}: because"]
    else:
        with pytest.raises(UnreachableError):
            bring(mirror, REPORTED)
        assert printed == []


def test_a_server_that_is_away_may_come_back() -> None:
    with pytest.raises(UnreachableError):
        bring(Mirror("http://127.0.0.1:9", "away"), RUN)


def test_a_server_without_a_registry_is_named_in_a_line(proxy: Proxy) -> None:
    proxy.answer = (404, json.dumps({"error_code": "ENDPOINT_NOT_FOUND", "message": "no registry here"}))
    client, _ = Mirror(proxy.uri, "any").connect()
    with pytest.raises(InputError, match=rf"^MLflow at {proxy.uri} rejected the model 'es': .*no regis"):
        registered_before(client, proxy.uri, "es", "digest")
