"""`report --follow`: a page that a local server keeps up to date."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import warm_start
from browser import opened
from recorded_search import add_trial, leave_best, record, searched_by

from themo.cli.main import main
from themo.errors import InputError
from themo.files.locks import try_lock
from tune.results.report.follow import Follower, accepted_hosts, server_of
from tune.study.naming import LOCK_FILE
from tune.study.search import Search


@pytest.fixture
def searched(tmp_path: Path) -> tuple[Search, Path]:
    search, folder = record(tmp_path / "logs")
    search = searched_by(search, folder, num_samples=16)
    leave_best(search, folder)
    return search, folder


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a search's page."""
    with server_of(folder, 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def get(address: str, host: str | None = None) -> str:
    request = urllib.request.Request(address, headers={"Host": host} if host else {})  # noqa: S310 -- ours
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        return str(answer.read().decode())


def test_news_and_content_follow_the_record(searched: tuple[Search, Path]) -> None:
    _, folder = searched
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with served(folder) as address:
        news = json.loads(get(address + "state"))
        assert news["activity"] == "interrupted"
        assert news["line"].startswith("Search mine (interrupted): 12 of 16 trials started")
        assert "12 of 16 trials over 4 settings" in get(address)
        assert json.loads(get(address + "state")) == news  # nothing has changed
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
        assert add_trial(folder, 0.6) == 12
        later = json.loads(get(address + "state"))
        assert later["version"] != news["version"]
        assert "13 of 16 trials started" in later["line"]
        part = get(address + "part")
        assert "13 of 16 trials over 4 settings" in part
        assert "The best so far: trial 12" in part
        assert "<script>" not in part


def test_the_page_asks_its_own_server_only(searched: tuple[Search, Path]) -> None:
    page = Follower(searched[1]).page()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; script-src 'sha256-")
    assert "connect-src 'self';" in policy[1]
    assert "unsafe-eval" not in policy[1]


def test_only_the_page_and_its_parts_are_served(searched: tuple[Search, Path]) -> None:
    with served(searched[1]) as address:
        for path in ("study.json", "../study.json", "state/", "part?x=1"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                get(address + path)


def test_another_hosts_pages_cannot_read_it(searched: tuple[Search, Path]) -> None:
    with served(searched[1]) as address:
        with pytest.raises(urllib.error.HTTPError, match="403"):
            get(address + "state", host="example.org")
        assert json.loads(get(address + "state", host=address[7:-1].replace("127.0.0.1", "localhost")))


def test_port_80_accepts_hosts_without_a_port() -> None:
    hosts = {"127.0.0.1:80", "localhost:80", "127.0.0.1", "localhost"}
    assert accepted_hosts(80) == hosts
    assert accepted_hosts(8600) == {"127.0.0.1:8600", "localhost:8600"}


def test_until_the_first_score_the_page_says_so(tmp_path: Path) -> None:
    _, folder = record(tmp_path / "logs", n=1)
    (folder / "study.json").unlink()
    follower = Follower(folder)
    assert "No trial has reported a score yet." not in follower.page()  # there is no record yet
    assert follower.news()["activity"] == "not begun"
    record(tmp_path / "logs", n=0, name="other")
    (tmp_path / "logs/tune/other/study.json").rename(folder / "study.json")
    assert "No trial has reported a score yet." in follower.page()
    add_to_empty(folder)
    assert "The best so far: trial 0" in follower.page()


def add_to_empty(folder: Path) -> None:
    from tune.study.study import Study

    study = Study.read(folder / "study.json")
    study.add({"learn_rate": 1e-3, "batch_size": 64, "weight_decay": 0.1, "warmup_steps": 10})
    study.report(0, {"pairs_seen": 100.0, "epoch": 0.1, "val/match@01": 0.1}, "val/match@01")
    study[0].enter_checkpoint("session-1/trial-0000")
    study.save()


def test_a_search_that_starts_is_awaited(tmp_path: Path) -> None:
    folder = tmp_path / "soon"
    folder.mkdir()
    lock = try_lock(folder / LOCK_FILE)
    assert lock is not None
    try:
        follower = Follower(folder)
        assert follower.news()["activity"] == "starting"
        assert "Search soon (starting): checking options" in follower.page()
    finally:
        lock.release()


def test_a_damaged_record_is_named_on_the_page(searched: tuple[Search, Path]) -> None:
    follower = Follower(searched[1])
    follower.page()
    (searched[1] / "study.json").write_text("{", encoding="utf-8")
    assert follower.news()["activity"] == "unreadable"
    assert "study.json: has no valid study" in follower.page()


def test_a_taken_port_is_one_line(
    searched: tuple[Search, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        arguments = ["report", "mine", "--follow", "--port", str(port), "--logs-dir", str(tmp_path / "logs")]
        assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    rule = "must be a free port of 127.0.0.1 (0: any), another process listens there"
    assert err == f"Error: --port: {rule}, got {port}\n"


def test_a_port_that_is_none(searched: tuple[Search, Path]) -> None:
    with pytest.raises(InputError, match=r"^--port: must be a free port .*, got 70000$"):
        server_of(searched[1], 70000)


def test_a_search_that_is_none(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["report", "nosuch", "--follow", "--logs-dir", str(tmp_path)]) == 2
    assert "report NAME: there is no search at" in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_says_its_address_and_ends_by_ctrl_c(searched: tuple[Search, Path]) -> None:
    _, folder = searched
    command = [*warm_start.PYTHON, "-m", "themo", "report", str(folder), "--follow", "--port", "0"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", address)
        assert json.loads(get(address + "state"))["activity"] == "interrupted"
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130
    assert err.startswith("Following search mine; Ctrl-C ends it\n")
    assert "Interrupted." in err
    assert "Traceback" not in err


@pytest.mark.slow
def test_the_page_grows_and_keeps_the_readers_choices(searched: tuple[Search, Path]) -> None:
    _, folder = searched
    with served(folder) as address, opened(address) as seen:
        page = seen.page
        seen.drawn()
        page.get_by_role("button", name="pairs").click()
        page.locator(".axis[data-axis='val/match@01']").focus()
        for _ in range(8):
            page.keyboard.press("ArrowUp")
        shown = page.locator("#shown").inner_text()
        assert shown != "12 of 12 trials"
        page.evaluate("window.scrollTo(0, 900)")
        add_trial(folder, 0.6)
        page.locator("#shown").get_by_text("of 13 trials").wait_for()
        assert page.locator("table.trials tbody tr").count() == 13
        assert page.locator("th[aria-sort]").inner_text().startswith("pairs")
        assert page.locator("#brushed").inner_text().startswith("val/match@01 from ")
        assert page.evaluate("scrollY") == 900
        assert page.evaluate("document.activeElement.dataset.axis") == "val/match@01"
        assert "13 of 16 trials started" in page.locator("#live").inner_text()
        assert min(seen.drawn().values()) > 0
        assert seen.errors == []
        assert {url.removeprefix(address) for url in seen.requests} == {"", "state", "part"}


@pytest.mark.slow
def test_the_focus_outlives_new_content(searched: tuple[Search, Path]) -> None:
    _, folder = searched
    with served(folder) as address, opened(address) as seen:
        seen.drawn()
        focusable = ("th button >> nth=2", ".links a[href='#cost']", "input[name=scale] >> nth=1", ".tall")
        for n, selector in enumerate(focusable, 13):
            before = seen.page.locator(selector).element_handle()
            seen.page.locator(selector).focus()
            add_trial(folder, 0.6)
            seen.page.locator("#shown").get_by_text(f"of {n} trials").wait_for()
            assert seen.page.locator(selector).evaluate("node => node === document.activeElement"), selector
            assert not before.evaluate("node => node.isConnected")  # it is the successor
        assert seen.errors == []


@pytest.mark.slow
def test_a_page_that_opens_late_is_not_left_stale(searched: tuple[Search, Path]) -> None:
    _, folder = searched
    with served(folder) as address:
        older = get(address)
        add_trial(folder, 0.6)
        with opened(address) as seen:
            seen.page.route(address, lambda route: route.fulfill(content_type="text/html", body=older))
            seen.page.reload()
            seen.page.locator("#shown").get_by_text("12 of 12 trials").wait_for()
            seen.page.locator("#shown").get_by_text("of 13 trials").wait_for()
            assert seen.errors == []


@pytest.mark.slow
def test_a_lost_server_is_said_on_the_page(searched: tuple[Search, Path]) -> None:
    with ExitStack() as open_:
        with served(searched[1]) as address:
            seen = open_.enter_context(opened(address))
            seen.drawn()
        seen.page.locator("#live.lost").wait_for()
        assert "does not answer" in seen.page.locator("#live").inner_text()
        assert seen.page.locator("table.trials tbody tr").count() == 12
