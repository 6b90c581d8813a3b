import json
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from benchmarks.chaos.server import ServerOnSqlite
from themo.errors import InputError
from themo.tracking import connection
from themo.tracking import delivery as delivery_module
from themo.tracking.delivery import AwayError, Delivery, RefusedError

# what mlflow and sqlalchemy do among themselves
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")

BEGIN = {"do": "begin", "run": "k", "name": "run", "params": {"a": 1}, "tags": {"t": "x"}, "at": 1000}


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


def report(step: int, at: int = 2000, **metrics: float) -> dict[str, Any]:
    return {"do": "report", "run": "k", "metrics": metrics, "step": step, "at": at}


def runs(delivery: Delivery) -> list[Any]:
    client, experiment = delivery.connect()
    return list(client.search_runs([experiment]))


def steps(delivery: Delivery, name: str) -> list[int]:
    client, _ = delivery.connect()
    (run,) = runs(delivery)
    return [metric.step for metric in client.get_metric_history(run.info.run_id, name)]


@pytest.mark.slow
def test_all_records_twice_give_one_run_with_each_report_once(uri: str) -> None:
    records = [
        BEGIN | {"settings": {"b": 2}},
        report(10, a=1.0),
        report(20, a=2.0),
        {"do": "tag", "run": "k", "tags": {"reason": "none"}},
        {"do": "artifact", "run": "k", "content": {"c": 3}, "file": "more.json"},
        {"do": "finish", "run": "k", "status": "KILLED", "at": 3000},
    ]
    for _ in range(2):
        delivery = Delivery(uri, "twice")  # as after a kill
        for record in records:
            delivery.carry_out(record)
    (run,) = runs(delivery)
    assert run.info.status == "KILLED"
    assert run.data.params == {"a": "1"}
    assert (run.data.tags["t"], run.data.tags["reason"]) == ("x", "none")
    assert steps(delivery, "a") == [10, 20]


def test_a_resumed_trial_reports_no_step_twice(uri: str) -> None:
    first = Delivery(uri, "again")
    for record in (BEGIN, report(10, a=1.0), report(20, a=2.0)):
        first.carry_out(record)
    second = Delivery(uri, "again")
    for record in (BEGIN | {"at": 5000}, report(20, at=6000, a=2.0), report(30, at=7000, a=3.0)):
        second.carry_out(record)
    assert steps(second, "a") == [10, 20, 30]


def test_a_killed_runs_missing_params_and_settings_are_added(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Delivery(uri, "bare")

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(first, "_describe", die)
    with pytest.raises(KeyboardInterrupt):
        first.carry_out(BEGIN | {"settings": {"b": 2}})
    second = Delivery(uri, "bare")
    second.carry_out(BEGIN | {"settings": {"b": 2}})
    (run,) = runs(second)
    assert run.data.params == {"a": "1"}
    client, _ = second.connect()
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["settings.json"]


@pytest.mark.parametrize("before", ["nothing", "running", "ended"])
def test_a_trial_that_ended_is_brought_to_its_end(uri: str, before: str) -> None:
    delivery = Delivery(uri, f"settle-{before}")
    if before != "nothing":
        delivery.carry_out(BEGIN)
        delivery.carry_out(report(10, a=1.0))
    if before == "ended":
        delivery.carry_out(report(20, a=2.0))
        delivery.carry_out({"do": "finish", "run": "k", "status": "FINISHED", "at": 3000})
    settle = BEGIN | {"do": "settle", "metrics": {"a": 2.0}, "step": 20, "status": "FINISHED", "at": 9000}
    Delivery(uri, f"settle-{before}").carry_out(settle)
    (run,) = runs(delivery)
    assert run.info.status == "FINISHED"
    assert run.info.end_time == (3000 if before == "ended" else 9000)
    assert steps(delivery, "a")[-1] == 20
    assert run.data.metrics == {"a": 2.0}


@pytest.mark.parametrize("ended", [False, True])
def test_an_ended_trial_gets_its_tags_despite_a_kill(uri: str, ended: bool) -> None:
    experiment = f"settle-tags-{ended}"
    delivery = Delivery(uri, experiment)
    records = [BEGIN | {"run": "p", "name": "parent"}, BEGIN | {"parent": "p"}, report(20, a=2.0)]
    interrupted = {"do": "finish", "run": "k", "status": "KILLED", "at": 3000}
    for record in [*records, interrupted] if ended else records:
        delivery.carry_out(record)
    settle = BEGIN | {"do": "settle", "parent": "p", "metrics": {"a": 2.0}, "step": 20, "status": "KILLED"}
    settle |= {"at": 9000, "tags": {"t": "x", "themo.reason": "it waited to the end"}}
    again = Delivery(uri, experiment)
    for _ in range(2):
        again.carry_out(settle)
    (run,) = [run for run in runs(again) if run.info.run_name == "run"]
    assert (run.data.tags["t"], run.data.tags["themo.reason"]) == ("x", "it waited to the end")
    assert (run.info.status, run.info.end_time) == ("KILLED", 3000 if ended else 9000)


def test_a_trial_that_ended_and_is_all_there_is_not_written_to(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for record in (BEGIN | {"run": "p"}, *children(2)):
        Delivery(uri, "nothing-to-settle").carry_out(record)
    again = Delivery(uri, "nothing-to-settle")
    client, _ = again.connect()
    for write in ("log_batch", "set_terminated", "create_run"):
        monkeypatch.setattr(client, write, lambda *_, **__: pytest.fail("it was written to"))
    for record in children(2):
        again.carry_out(record)


def test_a_child_finds_its_parent_after_a_kill(uri: str) -> None:
    Delivery(uri, "parent").carry_out(BEGIN | {"run": "p", "name": "parent"})
    delivery = Delivery(uri, "parent")
    delivery.carry_out(BEGIN | {"parent": "p"})
    by_name = {run.info.run_name: run for run in runs(delivery)}
    assert by_name["run"].data.tags["mlflow.parentRunId"] == by_name["parent"].info.run_id


def children(n: int) -> list[dict[str, Any]]:
    """Records that settle the trials of a search."""
    settle = BEGIN | {"do": "settle", "parent": "p", "metrics": {"a": 2.0}, "step": 20, "status": "KILLED"}
    return [settle | {"run": f"p/{i}", "name": f"trial {i}"} for i in range(n)]


def counted(delivery: Delivery, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The searches for runs that are made of MLflow from now on."""
    client, _ = delivery.connect()
    search, found = client.search_runs, []

    def search_runs(experiments: list[str], condition: str = "", **page: Any) -> Any:
        found.append(condition)
        return search(experiments, condition, **page)

    monkeypatch.setattr(client, "search_runs", search_runs)
    return found


def test_trials_that_ended_are_looked_for_a_page_at_a_time(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery_module, "_RUNS_A_PAGE", 3)
    first = Delivery(uri, "pages")
    searches = counted(first, monkeypatch)
    for record in (BEGIN | {"run": "p"}, *children(5)):
        first.carry_out(record)
    assert len(searches) == 3, "for the run itself; for all of its key, and the children of the only one"
    second = Delivery(uri, "pages")
    searches = counted(second, monkeypatch)
    for record in (BEGIN | {"run": "p"}, *children(7)):
        second.carry_out(record)
    assert len(searches) == 2 + 2
    names = sorted(run.info.run_name for run in runs(second))
    assert names == ["run", *(f"trial {i}" for i in range(7))]


def test_children_of_a_deleted_run_are_those_of_the_new_one(uri: str) -> None:
    first = Delivery(uri, "deleted")
    for record in (BEGIN | {"run": "p"}, *children(3)):
        first.carry_out(record)
    client, _ = first.connect()
    client.delete_run(first.run_id("p"))
    second = Delivery(uri, "deleted")
    for record in (BEGIN | {"run": "p"}, *children(3)):
        second.carry_out(record)
    assert sorted(run.info.run_name for run in runs(second)) == ["run", "trial 0", "trial 1", "trial 2"]


def test_children_made_elsewhere_are_found_at_the_next_look(uri: str) -> None:
    first = Delivery(uri, "made-elsewhere")
    for record in (BEGIN | {"run": "p"}, *children(1)):
        first.carry_out(record)
    for record in children(2):
        Delivery(uri, "made-elsewhere").carry_out(record)
    first.forget_children()
    for record in children(2):
        first.carry_out(record)
    assert len(runs(first)) == 1 + 2


def test_a_child_whose_making_was_not_answered_is_not_made_twice(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery = Delivery(uri, "unanswered")
    delivery.carry_out(BEGIN | {"run": "p"})
    client, _ = delivery.connect()
    create = client.create_run

    def make_and_fail(*args: Any, **kwargs: Any) -> None:
        create(*args, **kwargs)
        raise OSError("connection lost")

    with monkeypatch.context() as patch:
        patch.setattr(client, "create_run", make_and_fail)
        with pytest.raises(AwayError, match="connection lost"):
            delivery.carry_out(BEGIN | {"parent": "p"})
    delivery.carry_out(BEGIN | {"parent": "p"})
    delivery.carry_out(BEGIN | {"parent": "p"})
    assert len(runs(delivery)) == 2


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (report(1, a=1.0) | {"run": "nosuch"}, "there is no run with the tag themo.run 'nosuch'"),
        ({"do": "dance", "run": "k"}, "no such record: 'dance'"),
        ({"do": "report", "run": "k"}, "a damaged record: KeyError"),
        (report(1, **{"a@b": 1.0}), "Invalid value"),
    ],
)
def test_what_will_never_be_taken(uri: str, record: dict[str, Any], message: str) -> None:
    delivery = Delivery(uri, "refused")
    delivery.carry_out(BEGIN)
    with pytest.raises(RefusedError, match=message):
        delivery.carry_out(record)


def test_a_server_that_is_away_may_come_back(tmp_path: Path) -> None:
    delivery = Delivery("http://127.0.0.1:9", "away")
    with pytest.raises(AwayError):
        delivery.carry_out(BEGIN)


class Proxy(ThreadingHTTPServer):
    """What little of MLflow's server these tests ask, and a proxy before it that answers in its place.

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
def test_what_a_proxy_answers_may_pass(proxy: Proxy, status: int, body: str) -> None:
    delivery = Delivery(proxy.uri, "any")
    proxy.answer = (status, body)
    with pytest.raises(AwayError):
        delivery.carry_out(BEGIN)
    proxy.answer = None
    delivery.carry_out(BEGIN)
    proxy.answer = (status, body)
    with pytest.raises(AwayError):
        delivery.carry_out(report(10, a=1.0))
    proxy.answer = None
    delivery.carry_out(report(10, a=1.0))
    assert proxy.logged == ["runs/search", "runs/create", "runs/log-batch", "runs/log-batch"]


@pytest.mark.parametrize(
    ("status", "error_code", "raised"),
    [
        (400, "INVALID_PARAMETER_VALUE", RefusedError),
        (404, "RESOURCE_DOES_NOT_EXIST", RefusedError),
        (401, "UNAUTHENTICATED", AwayError),
        (403, "PERMISSION_DENIED", AwayError),
        (429, "REQUEST_LIMIT_EXCEEDED", AwayError),
        (500, "INTERNAL_ERROR", AwayError),
        (503, "TEMPORARILY_UNAVAILABLE", AwayError),
    ],
)
def test_what_mlflow_itself_answers(
    proxy: Proxy, status: int, error_code: str, raised: type[Exception]
) -> None:
    proxy.answer = (status, json.dumps({"error_code": error_code, "message": "because"}))
    with pytest.raises(raised, match=f"{error_code}: because" if raised is RefusedError else None):
        Delivery(proxy.uri, "any").carry_out(BEGIN)


@pytest.mark.slow
def test_processes_that_open_a_new_database_at_once(tmp_path: Path) -> None:
    """MLflow itself makes its tables step by step, and fails where another process is at it."""
    script = (
        "import sys; import mlflow; from themo.tracking.delivery import Delivery\n"
        "print('ready', flush=True)\n"
        "for line in sys.stdin: print(Delivery(line.strip(), 'at once').connect()[1], flush=True)"
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
    """What two get that ask for an experiment before either makes it."""
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
        made = [threads.submit(lambda: Delivery(uri, "both").connect()[1]) for _ in range(2)]
        return [each.result() for each in made]


def test_two_that_make_an_experiment_at_once_get_the_same(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Delivery(uri, "first").connect()  # makes the tables
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

    Delivery(uri, "older").connect()
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
        Delivery(f"sqlite:///{path}", "older").connect()
    assert "\n" not in str(refused.value)
    assert path.read_bytes() == before


def test_a_database_of_another_version_of_mlflow(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        database.execute("INSERT INTO alembic_version VALUES ('0123456789ab')")
        database.commit()
    with pytest.raises(InputError, match="cannot be used: Can't locate revision"):
        Delivery(f"sqlite:///{path}", "other").connect()


def test_a_server_without_a_registry_is_named_in_a_line(proxy: Proxy) -> None:
    proxy.answer = (404, json.dumps({"error_code": "ENDPOINT_NOT_FOUND", "message": "no registry here"}))
    with pytest.raises(InputError, match=rf"^MLflow at {proxy.uri} does not take the model 'es': .*no regis"):
        Delivery(proxy.uri, "any").registered_before("es", "digest")


# --- what comes after a run's end ---

JOIN = BEGIN | {"do": "join", "name": "miniature/version_0", "settings": {"b": 2}}


def measure(at: int = 5000, **metrics: float) -> dict[str, Any]:
    return {"do": "measure", "run": "k", "metrics": metrics, "at": at}


@pytest.mark.parametrize("status", ["RUNNING", "FAILED"])
def test_a_joined_run_keeps_its_state(uri: str, status: str) -> None:
    delivery = Delivery(uri, f"join-{status}")
    delivery.carry_out(BEGIN)
    if status == "FAILED":
        delivery.carry_out({"do": "finish", "run": "k", "status": status, "at": 3000})
    later = Delivery(uri, f"join-{status}")
    assert later.carry_out(JOIN) is None
    later.carry_out(measure(score=0.5))
    (run,) = runs(delivery)
    assert (run.info.run_name, run.info.status, run.data.metrics) == ("run", status, {"score": 0.5})
    assert run.info.end_time == (3000 if status == "FAILED" else None)


def test_a_missing_run_is_made_once_and_named(uri: str) -> None:
    place = f"MLflow at {uri}, experiment 'join-none'"
    said = [Delivery(uri, "join-none").carry_out(JOIN) for _ in range(2)]
    assert said == [f"{place}, has no run of miniature/version_0: it is logged as a new run", None]
    (run,) = runs(Delivery(uri, "join-none"))
    assert (run.info.run_name, run.info.status, run.data.params) == (
        "miniature/version_0",
        "FINISHED",
        {"a": "1"},
    )


def test_the_last_score_counts_and_an_equal_one_adds_nothing(uri: str) -> None:
    delivery = Delivery(uri, "measure")
    delivery.carry_out(BEGIN)
    delivery.carry_out(report(10, a=1.0))
    for at, score in ((5000, 0.5), (6000, 0.5), (7000, 0.4)):
        delivery.carry_out(measure(at, score=score))
    delivery.carry_out(report(20, a=2.0))  # scores do not move the run's step
    client, _ = delivery.connect()
    (run,) = runs(delivery)
    assert run.data.metrics == {"a": 2.0, "score": 0.4}
    assert [m.value for m in client.get_metric_history(run.info.run_id, "score")] == [0.5, 0.4]


def test_scores_of_a_missing_run_are_refused(uri: str) -> None:
    delivery = Delivery(uri, "measure-none")
    with pytest.raises(RefusedError, match=r"there is no run with the tag themo\.run 'k'"):
        delivery.carry_out(measure(score=0.5))
    assert runs(delivery) == []


def test_replaced_tags_leave_those_of_other_prefixes(uri: str) -> None:
    delivery = Delivery(uri, "replace")
    delivery.carry_out(BEGIN | {"tags": {"w.trial": "1", "w.temperature": "0.1", "other": "x"}})
    record = {"do": "replace tags", "run": "k", "prefix": "w.", "tags": {"w.trial": "2"}}
    for _ in range(2):
        delivery.carry_out(record)
    (run,) = runs(delivery)
    assert {name: value for name, value in run.data.tags.items() if name[:2] in ("w.", "ot")} == {
        "w.trial": "2",
        "other": "x",
    }


def test_a_file_is_kept_as_it_is_when_it_is_sent(uri: str, tmp_path: Path) -> None:
    (tmp_path / "outbox").mkdir()
    delivery = Delivery(uri, "file", tmp_path / "outbox")
    delivery.carry_out(BEGIN)
    record = {"do": "file", "run": "k", "path": "../report.html"}
    with pytest.raises(RefusedError, match=r"report\.html: no such file"):
        delivery.carry_out(record)
    for text in ("first", "second"):
        (tmp_path / "report.html").write_text(text)
        delivery.carry_out(record)
    (run,) = runs(delivery)
    client, _ = delivery.connect()
    assert [entry.path for entry in client.list_artifacts(run.info.run_id)] == ["report.html"]
    kept = client.download_artifacts(run.info.run_id, "report.html", str(tmp_path / "outbox"))
    assert Path(kept).read_text() == "second"
