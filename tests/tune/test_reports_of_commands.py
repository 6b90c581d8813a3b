"""A whole small search over the miniature as users run it, with its pages in a browser."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import warm_start
import yaml
from browser import browser_path, opened
from formula_search import a_search
from playwright.sync_api import Page
from tiny import TINY_MINIATURE

from benchmarks.chaos.server import free_port
from themo.config.settings import load
from themo.tracking.comparison import PAGE, UI_ADDRESS, view_address
from themo.tracking.mirror import Mirror
from themo.tracking.names import metric_name
from tune.cluster.resources import Resources
from tune.results.mlflow_runs import SearchRuns
from tune.study.study import Study
from tune.study.trial_record import Trial

pytestmark = [
    pytest.mark.slow,
    # what mlflow and sqlalchemy do among themselves
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
]

N_TRIALS = 4
SPACE = {
    "space": {
        "learn_rate": {"log_uniform": [1e-4, 1e-2]},
        "batch_size": {"integer": [16, 64], "step": 16},
        "pooling": {"choice": ["mean", "first"]},
    },
    "search": {"num_samples": N_TRIALS, "grace_pairs": 150, "startup_trials": 2},
}

OBJECTIVE = metric_name("val/retrieval@01")
SELECT, OPTION = ".du-bois-light-select-selector", ".du-bois-light-select-item-option"
"""MLflow's pages: a field that opens a list, and an entry of the list."""
OF_MLFLOW = ("Failed to load resource", "[.WebGL")
"""Beginnings of console messages of MLflow's pages and of the browser's drawing, which are ignored."""


@dataclass(frozen=True)
class Searched:
    folder: Path
    result: dict[str, Any]
    cwd: Path

    @property
    def search(self) -> Path:
        return self.folder / "logs" / "tune" / "small"

    def themo(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        return themo(*arguments, cwd=self.cwd)


def themo(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [*warm_start.PYTHON, "-m", "themo", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=550)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Searched:
    folder = tmp_path_factory.mktemp("searched")
    tree = {
        "preset": "miniature",
        "paths": {"logs_dir": str(folder / "logs"), "cache_dir": str(folder / "cache")},
        "training": {
            "epochs": 1.0,
            "report_pairs": 150,
            "threads": 1,
            "device": "cpu",
            "precision": "float32",
        },
        "miniature": TINY_MINIATURE,
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    (folder / "space.yaml").write_text(yaml.safe_dump(SPACE), encoding="utf-8")
    options = ["--config", folder / "tiny.yaml", "--space", folder / "space.yaml", "--name", "small"]
    done = themo("tune", *options, "--max-concurrent", 1, "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    return Searched(folder, json.loads(done.stdout), folder)


def test_tune_leaves_a_report_and_names_it(searched: Searched) -> None:
    path = searched.search / "report.html"
    assert searched.result["report"] == str(path)
    assert set(searched.result["test"]) >= {"student", "ceiling", "teacher_es", "ci95"}
    study = json.loads((searched.search / "study.json").read_text(encoding="utf-8"))
    assert {trial["machine"] for trial in study["trials"]} == {socket.gethostname()}
    with opened(path) as seen:
        drawn = seen.drawn()
        assert set(drawn) == {"history", "curves", "rungs", "parallel", "slices", "time"}  # of four trials
        assert min(drawn.values()) > 0, drawn
        text = seen.page.inner_text("main")
    assert (seen.errors, seen.requests) == ([], [path.as_uri()])
    assert f"{N_TRIALS} of {N_TRIALS} trials over 3 settings, by val/retrieval@01" in text
    assert "floor: the teacher, fed Spanish" in text


def test_the_commands_of_the_report_are_those_that_work(searched: Searched) -> None:
    path = searched.search / "report.html"
    before = path.read_text(encoding="utf-8")
    again = searched.themo("report", "small", "--logs-dir", "logs")
    assert (again.returncode, again.stdout) == (0, "logs/tune/small/report.html\n"), again.stderr
    assert re.search(rf"^Its trials:    {re.escape(UI_ADDRESS)}/#/\S+$", again.stderr, flags=re.MULTILINE)
    tested = searched.themo(
        "test", "--version-path", "logs/tune/small/best", "--baseline", "--report", "--json"
    )
    assert tested.returncode == 0, tested.stderr
    result = json.loads(tested.stdout)
    assert result.pop("report") == "logs/tune/small/best/report.html"
    assert result == json.loads((searched.search / "best" / "test.json").read_text(encoding="utf-8"))
    page = searched.search / "best" / "report.html"
    with opened(page) as seen:
        drawn = seen.drawn()
        assert set(drawn) == {"places", "twins", "attributes", "values"}  # the miniature knows what it shows
        assert min(drawn.values()) > 0, drawn
    assert (seen.errors, seen.requests) == ([], [page.as_uri()])
    assert "python -m themo train --config logs/tune/small/best.yaml" in before
    assert "python -m themo test --version-path logs/tune/small/best --baseline --report" in before


def test_the_search_is_repeated_by_its_name(searched: Searched) -> None:
    assert (
        "python -m themo tune --repeat small --logs-dir logs" in (searched.search / "report.html").read_text()
    )
    # a copy: MLflow's comparison, further down, is of one search
    shutil.copytree(searched.search, searched.folder / "elsewhere" / "tune" / "small")
    done = searched.themo("tune", "--repeat", "small", "--name", "again", "--logs-dir", "elsewhere", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["best"], result["test"]) == (searched.result["best"], searched.result["test"])
    again = load(config=searched.folder / "elsewhere" / "tune" / "again" / "best.yaml")
    first = load(config=searched.search / "best.yaml")
    assert again.model_copy(update={"paths": first.paths}) == first


@pytest.mark.timeout(1500)
def test_a_finished_search_repeats_results_and_can_grow(searched: Searched) -> None:
    # a copy: MLflow's comparison, further down, is of one search
    logs = searched.folder / "grown"
    folder = Path(shutil.copytree(searched.search, logs / "tune" / "small"))
    (folder / "best" / "test.json").unlink()  # as Ctrl-C leaves it that comes during the winner's test
    (folder / "report.html").unlink()
    first = rows_of(folder)
    told = searched.themo("tune", "--resume", "small", "--logs-dir", logs, "--json")
    assert told.returncode == 0, told.stderr
    result = json.loads(told.stdout)
    assert (result["best"], result["test"]) == (searched.result["best"], searched.result["test"])
    assert result["report"] == str(folder / "report.html")
    assert rows_of(folder) == first
    assert len(first) == N_TRIALS

    more = N_TRIALS + 2
    grown = searched.themo("tune", "--resume", "small", "--num-samples", more, "--logs-dir", logs, "--json")
    assert grown.returncode == 0, grown.stderr
    assert json.loads(grown.stdout)["num_samples"] == more
    rows = rows_of(folder)
    assert len(rows) == more
    assert rows[:N_TRIALS] == first
    assert {row["state"] for row in rows[N_TRIALS:]} <= {"COMPLETE", "PRUNED"}


def test_a_warm_start_names_the_trials_carried_over(searched: Searched) -> None:
    options = ["--config", "tiny.yaml", "--space", "space.yaml", "--num-samples", 1]
    # MLflow's comparison, further down, is of one search
    options += ["--name", "warm", "--experiment", "warm"]
    done = searched.themo("tune", "--warm-start", "small", *options)
    assert done.returncode == 0, done.stderr
    assert f"From search small: {N_TRIALS} of {N_TRIALS} trials carry over\n" in done.stderr
    warm = searched.search.with_name("warm")
    assert len(rows_of(warm)) == 1
    carried, trials = (
        json.loads((folder / "study.json").read_text(encoding="utf-8"))[part]
        for folder, part in ((warm, "carried"), (searched.search, "trials"))
    )
    assert [trial["number"] for trial in carried] == [-1, -2, -3, -4]
    assert [(t["params"], t["values"]) for t in carried] == [(t["params"], t["values"]) for t in trials]


def rows_of(folder: Path) -> list[dict[str, str]]:
    """Rows of ``trials.csv``."""
    with (folder / "trials.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_an_unwritable_report_costs_a_line_only(searched: Searched) -> None:
    path, best = searched.search / "report.html", searched.search / "best"
    kept = path.read_bytes()
    (best / "report.html").touch()  # of a test of the winner
    beside = {file: file.stat().st_mtime_ns for file in best.rglob("*")}
    path.unlink()
    path.mkdir()
    try:
        done = searched.themo("tune", "--resume", "small", "--logs-dir", "logs", "--json")
    finally:
        shutil.rmtree(path)
        path.write_bytes(kept)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["report"] is None
    assert result["best"] == searched.result["best"]
    assert result["test"] == json.loads((best / "test.json").read_text(encoding="utf-8"))
    assert {file: file.stat().st_mtime_ns for file in best.rglob("*")} == beside
    line = f"No report was written: {path}: cannot be written: Is a directory"
    assert done.stderr.splitlines().count(line) == 1
    assert "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def server(searched: Searched) -> Iterator[str]:
    """`mlflow ui` over the search's database; its address."""
    browser_path()
    port = free_port()
    uri = f"sqlite:///{searched.folder / 'logs' / 'mlflow.db'}"
    options = ["--backend-store-uri", uri, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "ui", *options],
        cwd=searched.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ
        | {
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DO_NOT_TRACK": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # eight processes, of no page looked at
        },
        start_new_session=True,
    )
    try:
        address = f"http://127.0.0.1:{port}"
        end = time.monotonic() + 240
        while not _answers(address):
            assert process.poll() is None, "the server ended"
            assert time.monotonic() < end, "the server never answered"
            time.sleep(0.5)
        yield address
    finally:
        os.killpg(process.pid, 15)
        process.wait(timeout=60)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=5) as answer:  # noqa: S310 -- our own server
            return bool(answer.status == 200)
    except OSError:
        return False


def choose(page: Page, field: int, name: str) -> None:
    """Choose an entry in a field of MLflow's comparison: of the settings, then of the metrics."""
    page.locator(SELECT).nth(field).click()
    option = page.locator(f"{OPTION}[title='{name}']")
    while not option.count():  # a list holds what is in view only
        page.keyboard.press("ArrowDown")
    option.click()
    page.keyboard.press("Escape")


def test_mlflow_compares_the_trials_in_parallel_coordinates(server: str, searched: Searched) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{searched.folder / 'logs' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("miniature")
    runs = client.search_runs([experiment.experiment_id])
    trials = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    children = [run.info.run_id for run in trials]
    assert len(children) == N_TRIALS
    differing = {name for name in SPACE["space"] if len({run.data.params[name] for run in trials}) > 1}
    assert "learn_rate" in differing
    query = f"runs={json.dumps(children)}&experiments={json.dumps([experiment.experiment_id])}"
    with opened(f"{server}/#/compare-runs?{query}", width=1600) as seen:
        plot = seen.page.locator(".js-plotly-plot .parcoords")
        plot.first.wait_for(state="attached")
        axes = seen.page.locator(".js-plotly-plot .parcoords .axis-title")
        axes.first.wait_for(state="attached")
        shown = set(axes.all_text_contents())  # three settings and a metric, before one chooses
        for field, names in ((0, differing), (1, {OBJECTIVE})):
            for name in sorted(names - shown):
                choose(seen.page, field, name)
                axes.filter(has_text=re.compile(f"^{re.escape(name)}$")).wait_for(state="attached")
        titles = axes.all_text_contents()
        text = seen.page.inner_text("body")
    assert f"Comparing {N_TRIALS} Runs" in text
    assert differing | {OBJECTIVE} <= set(titles)  # a setting that is the same in all trials has no axis
    assert [error for error in seen.errors if not error.startswith(OF_MLFLOW)] == []


def test_one_click_opens_the_trials_on_their_axes(server: str, searched: Searched) -> None:
    """The address that `tune`, `status` and the report print, at this test's server."""
    done = searched.themo("status", "small", "--logs-dir", "logs")
    (address,) = re.findall(r"^Its trials: +(\S+)$", done.stdout, flags=re.MULTILINE)
    assert address.startswith(f"{UI_ADDRESS}/")
    with opened(address.replace(UI_ADDRESS, server), width=1600) as seen:
        for number in range(N_TRIALS):
            seen.page.get_by_text(f"trial {number} of small", exact=True).first.wait_for(state="attached")
        axes = seen.page.locator(".parcoords svg text.label")
        axes.get_by_text("log10_learn_rate").wait_for(state="attached")
        titles = set(axes.all_text_contents())
    names = set(SPACE["space"]) - {"learn_rate"} | {"log10_learn_rate"}
    assert "log10_learn_rate" in titles
    assert f"best/{OBJECTIVE}" in titles
    assert titles <= names | {f"best/{OBJECTIVE}"}


def test_mlflow_shows_the_winner_on_the_page_of_the_search(server: str, searched: Searched) -> None:
    from mlflow import MlflowClient

    best = searched.result["best"]
    client = MlflowClient(f"sqlite:///{searched.folder / 'logs' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("miniature").experiment_id
    (run,) = client.search_runs([experiment], "run_name = 'small'")
    assert run.data.tags["themo.winner.trial"] == str(best["trial"])
    assert run.data.tags["themo.winner.pooling"] == best["settings"]["pooling"]
    assert run.data.metrics["test/retrieval_at_01"] == searched.result["test"]["student"]["retrieval@01"]
    page = f"{server}/#/experiments/{experiment}/runs/{run.info.run_id}"
    with opened(page, width=1600) as seen:
        seen.page.get_by_text("themo.winner.trial").first.wait_for(state="attached")
        seen.page.get_by_text("test/retrieval_at_01", exact=True).first.wait_for(state="attached")
    with opened(f"{page}/artifacts/report.html", width=1600) as seen:
        seen.page.get_by_text("best.yaml", exact=True).first.wait_for(state="attached")
        report = seen.page.frame_locator("iframe").first
        report.locator("html[data-drawn=yes]").wait_for(state="attached")
        text = report.locator("main").inner_text()
    assert f"The winner: trial {best['trial']}" in text
    assert "python -m themo train --config logs/tune/small/best.yaml" in text


def test_more_trials_than_a_page_of_mlflow_compare(server: str, searched: Searched, tmp_path: Path) -> None:
    n_trials = PAGE + 20
    scores = [number / n_trials for number in range(n_trials)]
    trials = [
        Trial(
            number,
            {"batch_size": 16 * (1 + number % 4)},
            "COMPLETE",
            values={1: score},
            metrics={"pairs_seen": 1.0, "best/val/match@01": score},
        )
        for number, score in enumerate(scores)
    ]
    database = f"sqlite:///{searched.folder / 'logs' / 'mlflow.db'}"
    search = a_search(tmp_path, "many", Resources())
    Study(search.folder / "study.json", "max", trials).save()
    mirror = Mirror(database, "many")
    mirror.sync(SearchRuns(search, search.folder)())
    address = view_address(server, str(mirror.experiment_id), search.uid)
    with opened(address, width=1600) as seen:
        best = seen.page.get_by_text(f"trial {n_trials - 1} of many", exact=True).first
        best.wait_for(state="attached")
        seen.page.locator(".parcoords svg text.label").first.wait_for(state="attached")
        seen.page.get_by_text(f"Best {PAGE} of {n_trials}: Load more").wait_for(state="attached")
        worst = seen.page.get_by_text("trial 0 of many", exact=True)
        assert worst.count() == 0
        seen.page.get_by_role("button", name="Load more").click()
        worst.first.wait_for(state="attached")
        matching = re.compile(rf"^{n_trials} +matching runs$")
        seen.page.get_by_text(matching).wait_for(state="attached")
        assert seen.page.locator(".parcoords svg text.label").count() == 2


def test_the_winner_is_registered_once_and_only_if_asked(searched: Searched) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{searched.folder / 'logs' / 'mlflow.db'}")
    assert client.search_registered_models() == []
    resume = ["tune", "--resume", "small", "--logs-dir", "logs"]
    done = searched.themo(*resume, "--register", "small-es", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["registered"] == "models:/small-es/1"
    again = searched.themo(*resume, "--register", "small-es")
    assert again.returncode == 0, again.stderr
    assert "Registered:    models:/small-es/1 (registered before)\n" in again.stderr
    (registered,) = client.search_model_versions("name = 'small-es'")
    assert client.get_run(str(registered.run_id)).info.run_name == "small"


def test_a_test_of_the_winner_renews_the_searchs_run(searched: Searched) -> None:
    from mlflow import MlflowClient

    done = searched.themo("test", "--version-path", "small", "--logs-dir", "logs", "--json")
    assert done.returncode == 0, done.stderr
    client = MlflowClient(f"sqlite:///{searched.folder / 'logs' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("miniature").experiment_id
    runs = {run.info.run_name: run for run in client.search_runs([experiment])}
    assert set(runs) == {"small", *(f"trial {number} of small" for number in range(N_TRIALS))}
    score = json.loads(done.stdout)["student"]["retrieval@01"]
    assert runs["small"].data.metrics["test/retrieval_at_01"] == score
    assert "test.json" in {file.path for file in client.list_artifacts(runs["small"].info.run_id)}
    assert not any(value.startswith("/") for run in runs.values() for value in run.data.params.values())
