import contextlib
import gzip
import json
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hosts import Answer, Fault, Host, Request
from hypothesis import example, given, settings
from hypothesis import strategies as st

from themo.errors import InputError
from themo.fetching import downloads
from themo.fetching import hosts as themo_hosts
from themo.fetching.downloads import fetch, probe

CONTENT = bytes(range(256)) * 1000
NAME = "deep/file.tar"


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(themo_hosts, "BACKOFF_SECONDS", (0.01, 0.01, 0.01))
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    folder = tmp_path / "served"
    (folder / NAME).parent.mkdir(parents=True)
    (folder / NAME).write_bytes(CONTENT)
    with Host(folder) as host:
        yield host


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "here" / "file.tar"


def left(path: Path) -> set[str]:
    """Names beside a file, without locks and the file itself."""
    return {p.name for p in path.parent.iterdir() if p.suffix != ".lock" and p != path}


def ranges(host: Host) -> list[str | None]:
    return [request.range for request in host.gets(NAME)]


def refusal(url: str, path: Path, *, offline: bool = False) -> str:
    with pytest.raises(InputError) as caught:
        fetch(url, path, offline=offline)
    assert not path.is_file()
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


def test_a_file_is_fetched_once(host: Host, path: Path) -> None:
    url = host.url(NAME)
    assert fetch(url, path) == path
    assert path.read_bytes() == CONTENT
    assert left(path) == set()
    assert fetch(url, path) == path
    assert fetch(url, path, offline=True) == path
    assert len(host.requests) == 1
    assert host.requests[0].headers["accept-encoding"] == "identity"


def test_a_file_of_no_bytes(host: Host, path: Path) -> None:
    (host.folder / "empty").touch()
    assert fetch(host.url("empty"), path).read_bytes() == b""


def test_a_redirect_is_followed(host: Host, path: Path) -> None:
    def route(request: Request) -> Answer | None:
        moved = request.path == "old"
        return Answer(b"", {"Location": host.url(NAME)}, status=302) if moved else None

    host.routes.append(route)
    assert fetch(host.url("old"), path).read_bytes() == CONTENT


def test_an_existing_file_is_kept(host: Host, path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"mine")
    assert fetch(host.url(NAME), path).read_bytes() == b"mine"
    assert host.requests == []


def test_a_folder_where_the_file_should_be(host: Host, path: Path) -> None:
    path.mkdir(parents=True)
    assert refusal(host.url(NAME), path) == f"{path}: must be a file"


def test_offline(host: Host, path: Path) -> None:
    url = host.url(NAME)
    message = refusal(url, path, offline=True)
    assert message == f"{url}: is needed, and this run is offline; put the file at {path} yourself"
    assert host.requests == []


def test_a_cut_transfer_is_completed(host: Host, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    host.fault(NAME, Fault(cut_after=100_000), Fault(cut_after=50_000))
    fetch(host.url(NAME), path)
    assert path.read_bytes() == CONTENT
    assert ranges(host) == [None, "bytes=100000-", "bytes=150000-"]
    assert sum(request.sent for request in host.requests) == len(CONTENT)
    assert "the transfer was interrupted" in capsys.readouterr().err


def test_a_host_that_always_cuts_fails_and_the_next_run_resumes(host: Host, path: Path) -> None:
    host.fault(NAME, Fault(cut_after=10_000, times=None))
    url = host.url(NAME)
    message = refusal(url, path)
    assert message.startswith(f"{url}: the transfer was interrupted: ")
    assert message.endswith(f"; check the network, or put the file at {path} yourself")
    assert len(host.requests) == 4
    assert left(path) == {"file.tar.part", "file.tar.part.json"}
    host.mend()
    assert fetch(url, path).read_bytes() == CONTENT
    assert ranges(host)[-1] == "bytes=40000-"
    assert left(path) == set()


def test_tries_that_get_ahead_are_not_counted(
    host: Host, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "HEADWAY_BYTES", 10_000)
    host.fault(NAME, Fault(cut_after=30_000, times=None))
    assert fetch(host.url(NAME), path).read_bytes() == CONTENT
    assert len(host.requests) == 9


def test_tries_that_start_over_are_counted(host: Host, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "HEADWAY_BYTES", 200_000)
    host.fault(NAME, Fault(cut_after=30_000, no_ranges=True, times=None))
    refusal(host.url(NAME), path)
    assert len(host.requests) == 4


@pytest.mark.slow
def test_a_hang_is_cut(host: Host, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "READ_SECONDS", 2.0)
    host.fault(NAME, Fault(hang_after=1000), Fault(silent=True))
    assert fetch(host.url(NAME), path).read_bytes() == CONTENT
    assert ranges(host) == [None, "bytes=1000-", "bytes=1000-"]


@pytest.mark.slow
def test_a_host_that_hangs_always_is_given_up(
    host: Host, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "READ_SECONDS", 0.5)
    host.fault(NAME, Fault(silent=True, times=None))
    assert f"{host.url(NAME)}: no data arrived for 0.5 s; check the network" in refusal(host.url(NAME), path)
    assert len(host.requests) == 4


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_host_out_of_order_is_asked_again(host: Host, path: Path, status: int) -> None:
    host.fault(NAME, Fault(status=status, times=3))
    assert fetch(host.url(NAME), path).read_bytes() == CONTENT
    assert len(host.requests) == 4


def test_a_host_out_of_order_for_good(host: Host, path: Path) -> None:
    host.fault(NAME, Fault(status=503, times=None))
    assert refusal(host.url(NAME), path) == (
        f"{host.url(NAME)}: answers 503 Service Unavailable; "
        f"check the network, or put the file at {path} yourself"
    )
    assert len(host.requests) == 4


@dataclass
class Clock:
    """Time that passes by sleeping only, and how long somebody slept."""

    waits: list[float] = field(default_factory=list)

    def monotonic(self) -> float:
        return sum(self.waits)

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that records the real waits for a host, without waiting."""
    monkeypatch.undo()
    clock = Clock()
    monkeypatch.setattr(themo_hosts, "time", clock)
    return clock


@pytest.mark.parametrize("status", [429, 503])
def test_a_host_that_asks_to_wait_is_waited_for(clock: Clock, host: Host, path: Path, status: int) -> None:
    host.fault(NAME, Fault(status=status, headers={"Retry-After": "1"}))
    fetch(host.url(NAME), path)
    assert len(host.requests) == 2
    assert clock.waits == [1.0]


def test_retry_after_may_be_a_date(host: Host, path: Path) -> None:
    host.fault(NAME, Fault(status=429, headers={"Retry-After": "Fri, 01 Jan 2100 00:00:00 GMT"}))
    assert "answers 429 Too Many Requests and asks to wait 2," in refusal(host.url(NAME), path)
    host.fault(NAME, Fault(status=429, headers={"Retry-After": "Fri, 01 Jan 2010 00:00:00 GMT"}))
    host.fault(NAME, Fault(status=429, headers={"Retry-After": "soon"}))
    fetch(host.url(NAME), path)


def test_a_wait_that_is_too_long_is_refused_at_once(host: Host, path: Path) -> None:
    host.fault(NAME, Fault(status=429, headers={"Retry-After": "3600"}))
    message = refusal(host.url(NAME), path)
    assert message.startswith(
        f"{host.url(NAME)}: answers 429 Too Many Requests and asks to wait 3,600 s; check the network"
    )
    assert len(host.requests) == 1


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_file_that_the_host_does_not_give_is_refused_at_once(host: Host, path: Path, status: int) -> None:
    host.fault(NAME, Fault(status=status))
    assert f"{host.url(NAME)}: answers {status} " in refusal(host.url(NAME), path)
    assert len(host.requests) == 1
    assert left(path) == set()


def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def test_a_host_that_refuses_connections_fails_soon(path: Path, clock: Clock) -> None:
    url = f"http://127.0.0.1:{closed_port()}/x"
    assert refusal(url, path) == (
        f"{url}: cannot be reached: [Errno 111] Connection refused; "
        f"check the network, or put the file at {path} yourself"
    )
    assert clock.waits == [0.5, 1.0]


@pytest.mark.parametrize(
    ("name", "reason"), [("far.example", "Name or service not known"), ("x" * 64, "label too long")]
)
def test_a_host_without_an_address_fails_soon(
    path: Path, name: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up = socket.getaddrinfo

    def without_network(host: str, port: int | None) -> object:
        if host == "far.example":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return look_up(host, port)

    monkeypatch.setattr(socket, "getaddrinfo", without_network)
    message = refusal(f"http://{name}/x", path)
    assert message.startswith(f"http://{name}/x: cannot be reached: {name}: ")
    assert reason in message


def test_a_resolver_that_does_not_answer_is_not_waited_for(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(themo_hosts, "CONNECT_SECONDS", 0.1)
    monkeypatch.setattr(themo_hosts, "REACH_SECONDS", 0.1)
    monkeypatch.setattr(downloads, "REACH_SECONDS", 0.1)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: time.sleep(1))
    url = "http://far.example/x"
    message = refusal(url, path)
    assert message.startswith(f"{url}: cannot be reached: no address of far.example was found within 0.1 s; ")


@pytest.mark.parametrize("url", ["file.tar", "ftp://127.0.0.1/x", "http://h:port/x", "http:///x"])
def test_an_invalid_address_is_refused_at_once(path: Path, url: str) -> None:
    assert refusal(url, path).startswith(f"{url}: is not a valid file address: ")


def test_a_host_that_does_not_announce_the_size(host: Host, path: Path) -> None:
    host.fault(NAME, Fault(chunked=True), Fault(chunked=True, cut_after=70_000))
    fetch(host.url(NAME), path)
    assert path.read_bytes() == CONTENT
    path.unlink()
    fetch(host.url(NAME), path)
    assert path.read_bytes() == CONTENT
    assert ranges(host) == [None, None, "bytes=70000-"]


def test_more_bytes_than_announced_are_refused(host: Host, path: Path) -> None:
    leave(host, path, 1000, total=2000)
    host.fault(NAME, Fault(chunked=True, headers={"Content-Range": "bytes 1000-1999/2000"}))
    assert refusal(host.url(NAME), path) == f"{host.url(NAME)}: must have 2,000 bytes, the host sends more"
    assert left(path) == set()


def test_an_encoded_body_is_refused(host: Host, path: Path) -> None:
    host.fault(NAME, Fault(headers={"Content-Encoding": "gzip"}, body=gzip.compress(CONTENT)))
    assert refusal(host.url(NAME), path) == (
        f"{host.url(NAME)}: must be sent without Content-Encoding, is sent with gzip; "
        f"check the network, or put the file at {path} yourself"
    )
    assert len(host.requests) == 1
    assert left(path) == set()


@pytest.mark.parametrize(
    ("name", "encoding"), [("a.tar", "identity"), ("a.tar.gz", "x-gzip"), ("a.tgz", "gzip")]
)
def test_an_encoding_of_the_file_itself_is_accepted(
    host: Host, tmp_path: Path, name: str, encoding: str
) -> None:
    """Some hosts name a file's own compression as the encoding of the transfer."""
    host.fault(NAME, Fault(headers={"Content-Encoding": encoding}))
    assert fetch(host.url(NAME), tmp_path / name).read_bytes() == CONTENT


def test_an_end_like_a_cut_is_refused(host: Host, path: Path) -> None:
    host.fault(NAME, Fault(headers={"Content-Length": None}, times=None))
    assert refusal(host.url(NAME), path) == (
        f"{host.url(NAME)}: the host must announce a size; put the file at {path} yourself"
    )


def test_a_file_too_large_for_the_disk_is_refused_at_once(host: Host, path: Path) -> None:
    host.fault(NAME, Fault(headers={"Content-Length": str(10**18)}))
    message = refusal(host.url(NAME), path)
    assert message.startswith(f"{host.url(NAME)}: needs 1,000,000,000,000.0 MB in {path.parent}, where ")
    assert message.endswith(" MB are free")
    assert left(path) == set()


def test_a_folder_that_cannot_be_written(host: Host, path: Path) -> None:
    path.parent.write_bytes(b"a file")
    assert refusal(host.url(NAME), path) == f"{path}: cannot be written: Not a directory"


def test_a_disk_that_is_full_in_the_middle(host: Host, path: Path) -> None:
    script = """
        import resource, sys
        from pathlib import Path
        from themo.fetching.downloads import fetch
        from themo.errors import InputError
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            fetch(sys.argv[1], Path(sys.argv[2]))
        except InputError as error:
            print(error)
    """
    out = python(script, host.url(NAME), path).communicate(timeout=300)[0]
    assert out == f"{path}: cannot be written: File too large\n"
    assert fetch(host.url(NAME), path).read_bytes() == CONTENT
    assert ranges(host) == [None, "bytes=100000-"]


# What a killed process left


def leave(host: Host, path: Path, n: int, **note: object) -> None:
    """A part of the served file as a killed run leaves it."""
    path.parent.mkdir(exist_ok=True)
    etag = host.answer(Request("GET", NAME, "", {}, 0.0)).headers["ETag"]
    path.with_name("file.tar.part").write_bytes(CONTENT[:n])
    whole_note = {"url": host.url(NAME), "validator": etag, "total": len(CONTENT), **note}
    path.with_name("file.tar.part.json").write_text(json.dumps(whole_note), encoding="utf-8")


def spoil(suffix: str, content: bytes | None) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        victim = path.with_name(path.name + suffix)
        if content is None:
            victim.unlink()
        else:
            victim.write_bytes(content)

    return change


NOTES: dict[str, Callable[[Path], None]] = {
    "no note": spoil(".part.json", None),
    "an empty note": spoil(".part.json", b""),
    "half a note": spoil(".part.json", b'{"url": "http:'),
    "a note of something else": spoil(".part.json", b"[1]"),
    "a note in another encoding": spoil(".part.json", b"\xff"),
    "no part": spoil(".part", None),
    "a part that is longer than the file": spoil(".part", b"x" * 300_000),
}


@pytest.mark.parametrize("case", NOTES)
def test_a_part_that_nothing_is_known_of_is_not_trusted(host: Host, path: Path, case: str) -> None:
    leave(host, path, 1000)
    NOTES[case](path)
    assert fetch(host.url(NAME), path).read_bytes() == CONTENT
    assert ranges(host) == [None]


@pytest.mark.parametrize("note", [{"url": "http://other/x"}, {"validator": None}, {"total": "many"}])
def test_a_part_of_something_else_is_not_trusted(host: Host, path: Path, note: dict[str, object]) -> None:
    leave(host, path, 1000, **note)
    assert fetch(host.url(NAME), path).read_bytes() == CONTENT
    assert ranges(host) == [None]


def test_a_part_of_an_older_version_is_thrown_away(host: Host, path: Path) -> None:
    leave(host, path, 1000, validator='"older"')
    path.with_name("file.tar.part").write_bytes(b"x" * 1000)
    assert fetch(host.url(NAME), path).read_bytes() == CONTENT
    (request,) = host.requests
    assert (request.range, request.headers["if-range"]) == ("bytes=1000-", '"older"')


BARE: dict[str, str | None] = {"ETag": None, "Last-Modified": None}


@pytest.mark.parametrize(
    ("note", "fault"),
    [
        ({"validator": '"older"'}, Fault(no_condition=True)),
        ({"total": 5000}, Fault(no_condition=True, headers=BARE)),
    ],
    ids=["by the version", "by the size"],
)
def test_a_host_that_ignores_the_condition_is_seen_through(
    host: Host, path: Path, note: dict[str, object], fault: Fault
) -> None:
    leave(host, path, 1000, **note)
    path.with_name("file.tar.part").write_bytes(b"x" * 1000)
    host.fault(NAME, fault)
    assert fetch(host.url(NAME), path).read_bytes() == CONTENT
    assert ranges(host) == ["bytes=1000-", None]


def test_a_host_that_sends_another_range_is_seen_through(host: Host, path: Path) -> None:
    leave(host, path, 1000)
    host.fault(NAME, Fault(headers={"Content-Range": "bytes 900-255999/256000"}))
    assert fetch(host.url(NAME), path).read_bytes() == CONTENT
    assert ranges(host) == ["bytes=1000-", None]


def test_a_host_without_ranges_starts_over(host: Host, path: Path) -> None:
    host.fault(NAME, Fault(cut_after=1000), Fault(no_ranges=True))
    assert fetch(host.url(NAME), path).read_bytes() == CONTENT
    assert ranges(host) == [None, "bytes=1000-"]


def test_a_file_that_has_shrunk_meanwhile(host: Host, path: Path) -> None:
    leave(host, path, 1000, total=None)
    host.fault(NAME, Fault(no_condition=True, body=b"short"), Fault(body=b"short"))
    assert fetch(host.url(NAME), path).read_bytes() == b"short"
    assert ranges(host) == ["bytes=1000-", None]


def test_without_a_version_there_is_no_going_on(host: Host, path: Path) -> None:
    bare: dict[str, str | None] = {"ETag": 'W/"weak"', "Last-Modified": None}
    host.fault(NAME, Fault(cut_after=1000, headers=bare), Fault(headers=bare))
    assert fetch(host.url(NAME), path).read_bytes() == CONTENT
    assert ranges(host) == [None, None]


def test_a_date_replaces_an_entity_tag(host: Host, path: Path) -> None:
    bare: dict[str, str | None] = {"ETag": 'W/"weak"'}
    host.fault(NAME, Fault(cut_after=1000, headers=bare), Fault(headers=bare))
    assert fetch(host.url(NAME), path).read_bytes() == CONTENT
    assert ranges(host) == [None, "bytes=1000-"]
    assert host.requests[1].headers["if-range"].endswith(" GMT")


def test_a_part_that_was_whole_is_not_requested_again(host: Host, path: Path) -> None:
    leave(host, path, len(CONTENT))
    assert fetch(host.url(NAME), path).read_bytes() == CONTENT
    assert host.requests == []


def contents_and_cuts() -> st.SearchStrategy[tuple[bytes, list[int]]]:
    return st.binary(max_size=40).flatmap(
        lambda content: st.tuples(
            st.just(content), st.lists(st.integers(min_value=0, max_value=len(content)), max_size=3)
        )
    )


@settings(max_examples=25)
@given(contents_and_cuts(), st.booleans())
@example((b"abc", [0, 3]), False)
def test_any_cuts_are_mended(drawn: tuple[bytes, list[int]], between_runs: bool) -> None:
    content, cuts = drawn
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        patch.setattr(themo_hosts, "BACKOFF_SECONDS", () if between_runs else (0.0,) * 3)
        (folder / "served").mkdir()
        (folder / "served" / "x").write_bytes(content)
        with Host(folder / "served") as host:
            host.fault("x", *(Fault(cut_after=cut) for cut in cuts))
            url, path = host.url("x"), folder / "x"
            for _ in cuts if between_runs else []:
                with contextlib.suppress(InputError):
                    fetch(url, path)
            assert fetch(url, path).read_bytes() == content
            assert sum(request.sent for request in host.requests) == len(content)
        assert {p.name for p in folder.iterdir()} - {".x.lock"} == {"served", "x"}


# Processes


FETCH = """
    import sys
    from pathlib import Path
    from themo.fetching.downloads import fetch
    print(fetch(sys.argv[1], Path(sys.argv[2])))
"""


FETCH_WHEN_TOLD = """
    import sys
    from pathlib import Path
    import themo.files.locks
    from themo.fetching.downloads import fetch
    themo.files.locks.SECONDS_OF_SILENCE = 0.1
    print("ready", flush=True)
    sys.stdin.readline()
    print(fetch(sys.argv[1], Path(sys.argv[2])))
"""


def python(script: str, *arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def wait_until(condition: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    while not condition():
        assert process.poll() is None
        time.sleep(0.01)


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def test_a_killed_process_loses_nothing(host: Host, path: Path) -> None:
    host.fault(NAME, Fault(hang_after=180_000))
    process = python(FETCH, host.url(NAME), path)
    part = path.with_name("file.tar.part")
    wait_until(lambda: size(part) > 100_000, process)
    process.kill()
    process.communicate()
    assert not path.exists()
    there = size(part)
    assert fetch(host.url(NAME), path).read_bytes() == CONTENT
    assert ranges(host) == [None, f"bytes={there}-"]
    assert host.gets(NAME)[1].sent == len(CONTENT) - there
    assert left(path) == set()


@pytest.mark.slow
def test_processes_that_want_a_file_at_once_fetch_it_once(host: Host, path: Path) -> None:
    host.fault(NAME, Fault(seconds_per_block=0.15))  # 2.4 s
    processes = [python(FETCH_WHEN_TOLD, host.url(NAME), path) for _ in range(2)]
    assert [process.stdout and process.stdout.readline() for process in processes] == ["ready\n"] * 2
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    told = [process.communicate(timeout=300) for process in processes]
    assert [out for out, _ in told] == [f"{path}\n"] * 2
    assert len(host.requests) == 1
    assert path.read_bytes() == CONTENT
    assert sum(f"{path}: another process is fetching it; waiting" in err for _, err in told) == 1


# Probes


def test_a_probe_returns_the_size_and_downloads_nothing(host: Host) -> None:
    assert probe(host.url(NAME)) == len(CONTENT)
    assert [(request.method, request.sent) for request in host.requests] == [("HEAD", 0)]


@pytest.mark.parametrize(
    "fault",
    [
        Fault(headers={"Content-Length": None}),
        *(Fault(status=status, headers={"Content-Length": None}) for status in (403, 405, 429, 503)),
    ],
)
def test_a_probe_without_a_size_returns_none(host: Host, fault: Fault) -> None:
    host.fault(NAME, fault)
    assert probe(host.url(NAME)) is None
    assert len(host.requests) == 1


def test_a_probe_for_a_missing_file_is_refused(host: Host) -> None:
    with pytest.raises(InputError) as caught:
        probe(host.url("nothing"))
    assert str(caught.value) == f"{host.url('nothing')}: answers 404 Not Found; check the network"
    assert len(host.requests) == 1


def test_a_probe_of_a_host_that_cannot_be_reached(clock: Clock) -> None:
    url = f"http://127.0.0.1:{closed_port()}/x"
    with pytest.raises(InputError) as caught:
        probe(url)
    assert str(caught.value) == f"{url}: cannot be reached: [Errno 111] Connection refused; check the network"
    assert clock.waits == [0.5, 1.0]


def test_a_probe_of_a_host_that_hangs(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "PROBE_SECONDS", 0.2)
    monkeypatch.setattr(themo_hosts, "REACH_SECONDS", 0.1)
    monkeypatch.setattr(downloads, "REACH_SECONDS", 0.1)
    host.fault(NAME, Fault(silent=True, times=None))
    with pytest.raises(InputError, match=r": no data arrived for 0\.2 s; check the network$"):
        probe(host.url(NAME))
    assert len(host.requests) == 1
