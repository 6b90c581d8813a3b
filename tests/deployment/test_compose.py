"""docker-compose.yml: read by Docker's own parser, and run, command by command, in namespaces.

There is no container engine here. The commands of the file run with its flags and its environment, in the
containers of `namespaces`.
"""

from __future__ import annotations

import csv
import json
import re
import secrets
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import images
import pytest
from namespaces import Container, Project, inside, listening, resolve, why_not

REPOSITORY = Path(__file__).parents[2]
FILE = REPOSITORY / "docker-compose.yml"
SERVERS = {"postgres", "mlflow", "head", "worker", "worker-cpu"}
N_TRIALS = 4
PATIENCE = 10.0
"""Machines of tests are slower than those that a cluster runs on."""


def _parser() -> list[str]:
    try:
        import compose  # Docker Compose in a package, where there is one for this interpreter
    except ImportError:
        return ["docker", "compose"] if shutil.which("docker") else []
    return [str(Path(compose.__file__).parent / "docker-compose")]


def _can_parse() -> bool:
    parser = _parser()
    if not parser:
        return False
    return subprocess.run([*parser, "version"], capture_output=True, check=False).returncode == 0


needs_parser = pytest.mark.skipif(not _can_parse(), reason="needs docker compose, to read its files")


def read(**variables: str) -> Any:
    secret = {"POSTGRES_PASSWORD": "a-password", "RAY_AUTH_TOKEN": "a-token"}
    return resolve(FILE, _parser(), secret | variables)


@needs_parser
@pytest.mark.parametrize("variable", ["POSTGRES_PASSWORD", "RAY_AUTH_TOKEN"])
def test_an_empty_secret_is_refused_with_the_remedy(variable: str) -> None:
    with pytest.raises(ValueError, match=rf'{variable} is missing a value: .*"make .env"'):
        read(**{variable: ""})


@needs_parser
def test_secrets_are_in_no_service() -> None:
    model = read()
    services = json.dumps(model["services"])
    assert "a-password" not in services
    assert "a-token" not in services
    assert {s["environment"] for s in model["secrets"].values()} == {"POSTGRES_PASSWORD", "RAY_AUTH_TOKEN"}


@needs_parser
def test_ports_are_published_on_this_machine_alone_unless_asked() -> None:
    def published(model: Any) -> dict[str, list[tuple[str, str]]]:
        return {
            name: [(port["host_ip"], port["published"]) for port in service["ports"]]
            for name, service in model["services"].items()
            if service.get("ports")
        }

    assert published(read()) == {"mlflow": [("127.0.0.1", "5000")], "head": [("127.0.0.1", "8265")]}
    asked = published(read(RAY_BIND="192.0.2.7", RAY_PORT="80"))
    assert asked == {"mlflow": [("127.0.0.1", "5000")], "head": [("192.0.2.7", "80")]}


@needs_parser
def test_servers_are_checked_restarted_and_bounded() -> None:
    services = read()["services"]
    assert set(services) == SERVERS | {"tune"}
    for name in SERVERS:
        assert services[name]["restart"] == "unless-stopped", name
        assert services[name]["healthcheck"]["test"], name
        assert services[name]["logging"]["options"]["max-size"], name
        assert "no-new-privileges:true" in services[name]["security_opt"], name
    assert services["tune"]["restart"] == "no"
    for name in (SERVERS | {"tune"}) - {"postgres"}:
        assert services[name]["cap_drop"] == ["ALL"], name
    assert services["postgres"]["networks"].keys() == {"database"}
    assert read()["networks"]["database"]["internal"]


@needs_parser
def test_all_services_use_the_token_and_only_gpu_workers_gpus() -> None:
    services = read()["services"]
    for name in ("head", "worker", "worker-cpu", "tune"):
        assert services[name]["environment"]["RAY_AUTH_MODE"] == "token", name
    (device,) = services["worker"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["driver"] == "nvidia"
    assert device["capabilities"] == ["gpu"]
    assert not any("deploy" in services[name] for name in services if name != "worker")
    assert (services["worker"]["profiles"], services["worker-cpu"]["profiles"]) == (["gpu"], ["cpu"])


def test_the_example_names_the_variables_and_holds_no_secret() -> None:
    text = (REPOSITORY / ".env.example").read_text()
    assert re.findall(r"^(\w+)=$", text, re.MULTILINE) == ["POSTGRES_PASSWORD", "RAY_AUTH_TOKEN"]
    known = set(re.findall(r"\$\{(\w+)", FILE.read_text()))
    assert set(re.findall(r"^#?([A-Z_]+)=", text, re.MULTILINE)) - {"COMPOSE_PROFILES"} == known


@pytest.mark.parametrize("name", ["THEMO_IMAGE", "RAY_PORT", "MLFLOW_PORT", "RAY_BIND", "MLFLOW_BIND"])
def test_the_page_names_a_variable_of_the_compose_file(name: str) -> None:
    assert f"`{name}`" in (REPOSITORY / "docs" / "cluster.md").read_text(encoding="utf-8")


def test_make_writes_secrets_once(tmp_path: Path) -> None:
    for name in ("Makefile", ".env.example"):
        shutil.copy(REPOSITORY / name, tmp_path)
    made = []
    for _ in range(2):
        subprocess.run(["make", ".env"], cwd=tmp_path, check=True, capture_output=True)
        made.append((tmp_path / ".env").read_text())
    assert made[0] == made[1]
    values = dict(re.findall(r"^(POSTGRES_PASSWORD|RAY_AUTH_TOKEN)=(\w{64})$", made[0], re.MULTILINE))
    assert len(set(values.values())) == 2
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600


def test_without_python_no_file_with_empty_secrets_is_left(tmp_path: Path) -> None:
    for name in ("Makefile", ".env.example"):
        shutil.copy(REPOSITORY / name, tmp_path)
    made = subprocess.run(["make", ".env", "PYTHON=none"], cwd=tmp_path, check=False, capture_output=True)
    assert made.returncode != 0
    assert not (tmp_path / ".env").exists()


@dataclass(frozen=True)
class Running:
    """The cluster, the search in it, and its secrets."""

    project: Project
    workers: list[Container]
    secret: dict[str, str]
    starts: dict[str, int]
    """Starts of each server until all were healthy: Ray may give one up on a busy machine."""

    def ask(self, url: str, token: str | None = None, **headers: str) -> tuple[int, Any]:
        """Status and body of a page, as a browser on the host sees it."""
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return inside(self.project.host, lambda: _fetch(urllib.request.Request(url, headers=headers)))

    def post(self, url: str, body: Any, **headers: str) -> tuple[int, Any]:
        request = urllib.request.Request(
            url, json.dumps(body).encode(), {"Content-Type": "application/json", **headers}
        )
        return inside(self.project.host, lambda: _fetch(request))

    def token(self) -> str:
        return self.secret["RAY_AUTH_TOKEN"]


def _fetch(request: urllib.request.Request) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            body = answer.read().decode()
            return answer.status, json.loads(body) if body.startswith(("{", "[")) else body
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


SETTINGS = """
paths: {experiment: composed}
data: {corpus: [data/tiny/pairs.tsv], validation_pairs: 60}
teacher: {architecture: data/tiny/teacher, target: embedding}
student: {backbone: data/tiny/backbone, backbone_weights: false, max_length: 16}
loss: {loss: cosine}
training: {epochs: 40.0, report_pairs: 340, device: cpu, threads: 1, precision: float32}
"""
SPACE = """
space:
  learn_rate: {log_uniform: [1.0e-4, 1.0e-2]}
  batch_size: {choice: [16, 32]}
search: {num_samples: 4, startup_trials: 2, grace_pairs: 1500, reduction_factor: 3, max_failures: 3}
"""


@pytest.fixture(scope="module")
def cluster(
    tmp_path_factory: pytest.TempPathFactory, tiny_corpus: Path, tiny_teacher: Path, tiny_backbone: Path
) -> Iterator[Running]:
    """All services on CPUs, two workers."""
    reason = why_not() or ("" if _can_parse() else "needs docker compose, to read its files")
    database = images.postgres()
    if reason or database is None:
        pytest.skip(reason or "needs PostgreSQL: apt-get install postgresql")
    folder = tmp_path_factory.mktemp("compose")
    secret = {name: secrets.token_hex(32) for name in ("POSTGRES_PASSWORD", "RAY_AUTH_TOKEN")}
    model = resolve(FILE, _parser(), secret | {"WORKER_CPUS": "1"})
    themo = images.themo()
    stand_ins = {model["services"][name]["image"]: themo for name in model["services"]}
    stand_ins[model["services"]["postgres"]["image"]] = database
    with Project(model, stand_ins, secret, folder, PATIENCE) as project:
        tiny = project.volume("data") / "tiny"
        shutil.copytree(tiny_teacher, tiny / "teacher")
        shutil.copytree(tiny_backbone, tiny / "backbone")
        shutil.copy(tiny_corpus, tiny / "pairs.tsv")
        (tiny / "settings.yaml").write_text(SETTINGS)
        (tiny / "space.yaml").write_text(SPACE)
        subprocess.run(["chown", "-R", "{}:{}".format(*themo.user), str(tiny.parent)], check=True)
        for name in ("postgres", "mlflow", "head"):
            project.up(name)
        workers = project.up("worker-cpu", scale=2)
        yield Running(project, workers, secret, {c.name: c.starts for c in project.containers.values()})


def run_tune(cluster: Running, *options: str) -> Container:
    return cluster.project.run("tune", options)


def wait_for(what: str, condition: Any, container: Container, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"no {what} after {seconds:.0f} s:\n{container.log[-4000:]}"
        time.sleep(1)


def has_restarted(cluster: Running, container: Container) -> bool:
    return container.starts > cluster.starts[container.name] and container.health()


@pytest.mark.slow
@pytest.mark.system
@pytest.mark.timeout(3000)
class TestCluster:
    """In this order: the search takes the longest, and the tests before it need none."""

    def test_only_the_two_pages_listen_and_only_on_this_machine(self, cluster: Running) -> None:
        forwarders = [p for c in cluster.project.containers.values() for p in c.helpers]
        assert listening(forwarders[0].pid) == {("127.0.0.1", 5000), ("127.0.0.1", 8265)}
        for port in (5000, 8265):
            with pytest.raises(urllib.error.URLError, match="refused"):
                cluster.ask(f"http://198.51.100.1:{port}/")

    @pytest.mark.parametrize(("token", "status"), [(None, 401), ("wrong", 403)])
    def test_nobody_reads_or_submits_without_the_token(
        self, cluster: Running, token: str | None, status: int
    ) -> None:
        for page in ("api/jobs/", "nodes?view=summary", "api/cluster_status", "logical/actors", "timezone"):
            assert cluster.ask(f"http://127.0.0.1:8265/{page}", token)[0] == status, page
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        job = {"entrypoint": "touch /themo/logs/intruder"}
        assert cluster.post("http://127.0.0.1:8265/api/jobs/", job, **headers)[0] == status
        assert cluster.ask("http://127.0.0.1:8265/api/jobs/", cluster.token()) == (200, [])
        assert not (cluster.project.volume("logs") / "intruder").exists()

    def test_no_driver_or_node_joins_without_the_token(self, cluster: Running) -> None:
        stranger = cluster.workers[0]
        script = "from ray._raylet import GcsClient; print(GcsClient(address='head:6379').cluster_id)"
        plain = ["env", "--unset=RAY_AUTH_TOKEN_PATH"]
        asked = stranger.run([*plain, "RAY_AUTH_TOKEN=wrong", "python", "-c", script], timeout=300)
        assert "InvalidAuthToken" in asked.stderr
        asked = stranger.run([*plain, "RAY_AUTH_MODE=disabled", "python", "-c", script], timeout=300)
        assert "InvalidAuthToken" in asked.stderr
        assert "ClusterID" in stranger.run(["python", "-c", script], timeout=300).stdout

    def test_mlflow_answers_to_its_names_only(self, cluster: Running) -> None:
        url = "http://127.0.0.1:5000/api/2.0/mlflow/experiments/search"
        assert cluster.post(url, {"max_results": 1})[0] == 200
        assert cluster.post(url, {"max_results": 1}, Host="rebound.example")[0] == 403

    def test_a_search_survives_its_worker(self, cluster: Running) -> None:
        job = run_tune(
            cluster,
            *("--name", "first", "--config", "data/tiny/settings.yaml", "--space", "data/tiny/space.yaml"),
        )
        search = cluster.project.volume("logs") / "tune" / "first"
        study = search / "study.json"
        wait_for("checkpoint", lambda: study.exists() and '"session-1/' in study.read_text(), job, 1200)
        killed = cluster.workers[0]
        killed.kill()
        wait_for("restart", lambda: has_restarted(cluster, killed), killed, 600)
        assert job.process is not None
        assert job.process.wait(timeout=1800) == 0, job.log
        assert "Job 'raysubmit_" in job.log
        assert "succeeded" in job.log
        with (search / "trials.csv").open() as file:
            trials = list(csv.DictReader(file))
        assert len(trials) == N_TRIALS
        assert {trial["state"] for trial in trials} <= {"COMPLETE", "PRUNED"}
        assert (search / "best" / "student").is_dir()
        assert (search / "best.yaml").is_file()
        # Ray takes a while to see that the killed one is gone
        wait_for("workers", lambda: len(self._alive(cluster)) == 3, cluster.workers[0], 600)

    def test_mlflow_has_the_search_and_its_trials(self, cluster: Running) -> None:
        runs = self._runs(cluster)
        parents = [run for run in runs if "mlflow.parentRunId" not in run["tags"]]
        assert [run["name"] for run in parents] == ["first"]
        children = [run for run in runs if run["tags"].get("mlflow.parentRunId") == parents[0]["id"]]
        assert len(children) == N_TRIALS
        assert parents[0]["status"] == "FINISHED"
        assert {run["status"] for run in children} <= {"FINISHED", "KILLED"}
        kept = list(cluster.project.volume("artifacts").rglob("settings.json"))
        assert len(kept) >= 1
        assert parents[0]["id"] in {path.parents[1].name for path in kept}

    def test_mlflow_has_the_winner_in_the_run_of_the_search(self, cluster: Running) -> None:
        """On PostgreSQL, through the server."""
        (parent,) = [run for run in self._runs(cluster) if run["name"] == "first"]
        best = (cluster.project.volume("logs") / "tune" / "first" / "best" / "run.txt").read_text().split()
        assert best[0].endswith(f"/{parent['tags']['themo.winner.trial']}")
        assert parent["tags"]["themo.winner.tested"] == "no"  # these settings name no test images
        assert float(parent["tags"]["themo.winner.learn_rate"]) > 0
        for name in ("best.yaml", "report.html"):
            (path,) = cluster.project.volume("artifacts").rglob(name)
            assert path.parents[1].name == parent["id"]

    def test_health_checks_pass_and_only_the_killed_service_restarts(self, cluster: Running) -> None:
        servers = [c for c in cluster.project.containers.values() if c.is_wanted]
        assert {c.name: c.health() for c in servers} == {c.name: True for c in servers}
        again = [c.name for c in servers if c.starts > cluster.starts[c.name]]
        assert again == [cluster.workers[0].name]

    def test_a_search_whose_head_died_is_resumed(self, cluster: Running) -> None:
        options = ("--config", "data/tiny/settings.yaml", "--space", "data/tiny/space.yaml")
        job = run_tune(cluster, "--name", "second", *options)
        study = cluster.project.volume("logs") / "tune" / "second" / "study.json"
        wait_for("checkpoint", lambda: study.exists() and '"session-1/' in study.read_text(), job, 1200)
        head = cluster.project.containers["head-1"]
        head.kill()
        assert job.process is not None
        assert job.process.wait(timeout=600) != 0
        wait_for("restart", lambda: has_restarted(cluster, head), head, 600)
        wait_for("workers", lambda: len(self._alive(cluster)) == 3, cluster.workers[0], 900)
        job = run_tune(cluster, "--resume", "second")
        assert job.process is not None
        assert job.process.wait(timeout=1800) == 0, job.log
        with (study.parent / "trials.csv").open() as file:
            assert {trial["state"] for trial in csv.DictReader(file)} <= {"COMPLETE", "PRUNED"}
        runs = [run for run in self._runs(cluster) if "mlflow.parentRunId" not in run["tags"]]
        assert {run["name"]: run["status"] for run in runs} == {"first": "FINISHED", "second": "FINISHED"}

    def _alive(self, cluster: Running) -> list[Any]:
        try:
            status, answer = cluster.ask("http://127.0.0.1:8265/nodes?view=summary", cluster.token())
        except OSError:  # the dashboard is still starting
            return []
        nodes = answer["data"]["summary"] if status == 200 else []
        return [n for n in nodes if n["raylet"]["state"] == "ALIVE"]

    def _runs(self, cluster: Running) -> list[dict[str, Any]]:
        api = "http://127.0.0.1:5000/api/2.0/mlflow"
        _, found = cluster.ask(f"{api}/experiments/get-by-name?experiment_name=composed")
        experiment = found["experiment"]["experiment_id"]
        _, found = cluster.post(f"{api}/runs/search", {"experiment_ids": [experiment]})
        return [
            {
                "id": run["info"]["run_id"],
                "name": run["info"]["run_name"],
                "status": run["info"]["status"],
                "tags": {tag["key"]: tag["value"] for tag in run["data"]["tags"]},
            }
            for run in found["runs"]
        ]
