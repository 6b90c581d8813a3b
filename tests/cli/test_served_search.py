"""``python -m themo search --serve``, over an untrained student of the tiny teacher."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
import pytest
import warm_start
from tiny import write_picture, write_version_of

from themo.cli.main import main
from themo.config.settings import Settings
from themo.image_search.serving.listening import listen

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def place(tmp_path: Path, tiny_settings: Settings) -> Path:
    """A folder with a version and three pictures."""
    write_version_of(tiny_settings, tmp_path / "version", dimension=12)
    random = np.random.default_rng(0)
    for i in range(3):
        write_picture(tmp_path / "pictures" / f"{i}.jpg", random)
    return tmp_path


REFUSED: dict[str, tuple[list[str], str]] = {
    "a text": (["un perro"], "--serve: enter texts and pictures in the page, got 'un perro'"),
    "a picture": (
        ["--like", "a.jpg"],
        "--serve: enter texts and pictures in the page, got --like 'a.jpg'",
    ),
    "a page": (["--html", "found.html"], "--serve: cannot be combined with --html, got found.html"),
    "a host elsewhere": (
        ["--host", "no.such.host.invalid"],
        "--host: must be an address or a name of this machine, got 'no.such.host.invalid'",
    ),
    "a port above all": (["--port", "65536"], "argument --port: must be at most 65535, got '65536'"),
    "a port that is none": (
        ["--port", "-1"],
        "argument --port: must be a whole number of at least 0, got '-1'",
    ),
    "no pictures": (["--port", "0", "--images", "version"], "--images version: must contain pictures"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_of_a_served_search(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture, case: str
) -> None:
    monkeypatch.chdir(place)
    arguments, message = REFUSED[case]
    given = ["search", "--serve", "--images", "pictures", "--version-path", "version", *arguments]
    assert main(given) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"Error: {message}")
    assert err.count("\n") == 1


@pytest.mark.parametrize("option", [["--port", "8000"], ["--host", "localhost"]])
def test_options_of_the_page_need_serve(capsys: Capture, option: list[str]) -> None:
    assert main(["search", "un perro", "--images", "pictures", *option]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(rf"Error: {option[0]}: needs --serve, got '?{option[1]}'? without it", line)


def test_a_taken_port_is_refused_before_any_work(capsys: Capture) -> None:
    with closing(listen("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["search", "--serve", "--images", "no-such-folder", "--port", str(port)]) == 2
    assert capsys.readouterr().err == (
        f"Error: --port {port}: must be free, but another program listens on 127.0.0.1 "
        "(choose another --port; 0: any free port)\n"
    )


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(place: Path) -> Iterator[Start]:
    """Starts a served search on a free port; its output is piped."""
    with ExitStack() as stack:

        def begin(*arguments: str) -> subprocess.Popen[str]:
            command = [*warm_start.PYTHON, "-m", "themo", "search", "--serve", "--images", "pictures"]
            process = stack.enter_context(
                subprocess.Popen(
                    [*command, "--version-path", "version", "--port", "0", *arguments],
                    cwd=place,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            stack.callback(process.kill)
            return process

        yield begin


def address_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def status_of(address: str) -> int:
    try:
        with urllib.request.urlopen(address, timeout=60) as reply:  # noqa: S310 -- our own server
            return int(reply.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (signal.SIGINT, 130, "Interrupted."),
        (signal.SIGTERM, 143, "Terminated."),
        (signal.SIGHUP, 129, "The terminal was closed."),
    ],
)
def test_a_signal_ends_the_server(start: Start, number: int, code: int, said: str) -> None:
    process = start()
    address = address_of(process)
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{22}/", address)
    assert status_of(address) == 200
    assert status_of(f"{address}search?text=el+gato&n=3") == 200
    assert status_of(address.rpartition("/")[0][:-1]) == 403
    kept = HTTPConnection(address.split("/")[2], timeout=60)  # as a browser keeps it
    kept.request("GET", f"/{address.split('/')[3]}/")
    kept.getresponse().read()
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    kept.close()
    assert process.returncode == code, err
    assert out == ""
    *lines, last = err.splitlines()
    assert lines == [
        "3 pictures; 3 files were new or changed",
        "Matches have no chance: the folder must contain at least 20 different pictures, but has 3",
        "Serving until Ctrl-C. New pictures are not searched.",
    ]
    assert last == said
    with pytest.raises(urllib.error.URLError):
        status_of(address)


@pytest.mark.slow
def test_a_second_server_on_the_port_is_refused(start: Start) -> None:
    address = address_of(start())
    port = address.split("/")[2].rpartition(":")[2]
    second = start("--port", port)
    out, err = second.communicate(timeout=300)
    assert (second.returncode, out) == (2, "")
    assert err == (
        f"Error: --port {port}: must be free, but another program listens on 127.0.0.1 "
        "(choose another --port; 0: any free port)\n"
    )
    assert status_of(address) == 200


@pytest.mark.slow
def test_json_and_a_host_that_others_reach(start: Start) -> None:
    process = start("--json", "--host", "0.0.0.0", "--top", "2")  # noqa: S104 -- the subject of the test
    assert process.stdout is not None
    assert process.stderr is not None
    result = json.loads("".join(iter(process.stdout.readline, "}\n")) + "}")
    assert result["images"] == 3
    assert result["version"] == "version"
    assert process.stderr.readline() == (
        "--host 0.0.0.0: other machines can reach the page. Whoever has its address sees the pictures, "
        "and the connection is not encrypted.\n"
    )
    port, token = re.fullmatch(r"http://[^/]+:(\d+)/([\w-]+)/", result["address"]).groups()  # type: ignore[union-attr]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{token}/", timeout=60) as reply:
        assert 'data-best="2"' in reply.read().decode()
