"""``python -m themo search``, over an untrained student of the tiny teacher."""

from __future__ import annotations

import errno
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import warm_start
from tiny import SettingsFactory, write_picture, write_version_of

import themo
from themo.cli.main import main
from themo.config.settings import Settings

Capture = pytest.CaptureFixture[str]
N = 7
NO_CHANCE = f"Matches have no chance: the folder must contain at least 20 different pictures, but has {N}"


@pytest.fixture
def version(tmp_path: Path, tiny_settings: Settings) -> Path:
    return write_version_of(tiny_settings, tmp_path / "logs" / "tiny" / "version_0", dimension=12)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for i in range(N):
        write_picture(tmp_path / "pictures" / f"{i}.jpg", random)
    return tmp_path / "pictures"


@pytest.fixture
def search(version: Path, folder: Path) -> Callable[..., int]:
    # to an untrained teacher, pictures of noise are near-duplicates
    rest = ["--duplicates", "--images", str(folder), "--version-path", str(version)]
    return lambda *arguments: main(["search", *map(str, arguments), *rest])


Search = Callable[..., int]


def test_the_best_matches_are_those_of_the_model(
    search: Search, version: Path, folder: Path, capsys: Capture
) -> None:
    queries = ["el gato rojo corre", "canta el búho"]
    assert search(*queries, "--top", 3, "--json") == 0
    out, err = capsys.readouterr()
    assert err.splitlines() == [f"{N} pictures; {N} files were new or changed", NO_CHANCE]
    model = themo.load(version)
    paths = sorted(map(str, folder.iterdir()))
    scores = model.similarity(model.encode(queries), model.encode_images(paths))
    result = json.loads(out)
    assert (result["images"], result["broken"], result["version"]) == (N, [], str(version))
    for found, query, row in zip(result["queries"], queries, scores, strict=True):
        order = np.argsort(-row)[:3]
        assert found["query"] == query
        assert [match["path"] for match in found["matches"]] == [paths[i] for i in order]
        np.testing.assert_allclose([match["score"] for match in found["matches"]], row[order], atol=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_another_runtime_finds_the_same(search: Search, capsys: Capture) -> None:
    found = {}
    for runtime in ("torch", "openvino"):
        assert search("el gato rojo corre", "--top", 3, "--json", "--runtime", runtime) == 0
        out, err = capsys.readouterr()
        assert ("Preparing the text encoder for OpenVINO, once: " in err) == (runtime == "openvino")
        found[runtime] = json.loads(out)["queries"][0]["matches"]
    for ours, theirs in zip(*found.values(), strict=True):
        assert ours["path"] == theirs["path"]
        assert ours["score"] == pytest.approx(theirs["score"], abs=2e-3)


def test_lines_for_people_and_a_page(search: Search, folder: Path, tmp_path: Path, capsys: Capture) -> None:
    assert search("el gato", "--top", 100, "--html", tmp_path / "found.html") == 0
    out, err = capsys.readouterr()
    title, *lines = out.splitlines()
    assert title == "el gato"
    assert [line.split()[0] for line in lines] == [str(i + 1) for i in range(N)]
    assert {line.split()[2] for line in lines} == {str(path) for path in folder.iterdir()}
    assert f"Written: {tmp_path / 'found.html'}" in err
    assert (tmp_path / "found.html").read_text(encoding="utf-8").count("<img") == N
    capsys.readouterr()
    assert search("el gato") == 0
    assert capsys.readouterr().err == f"{N} pictures; 0 files were new or changed\n{NO_CHANCE}\n"


def test_broken_pictures_are_named_and_the_rest_is_searched(
    search: Search, folder: Path, capsys: Capture
) -> None:
    for i in range(6):
        (folder / f"broken{i}.jpg").write_bytes((folder / "0.jpg").read_bytes()[: 100 * i])
    assert search("el gato", "--json") == 0
    out, err = capsys.readouterr()
    assert f"6 of {N + 6} pictures are broken and left out: " in err
    assert "broken0.jpg: must be an image" in err
    assert "broken4.jpg" in err
    assert "broken5.jpg" not in err
    assert ", and 1 more" in err
    assert json.loads(out)["broken"] == [f"broken{i}.jpg" for i in range(6)]


def test_unreadable_files_are_reported_and_counted(
    search: Search, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def find(_: Path, unreadable: Callable[[OSError], None], _left_out: object) -> list[object]:
        for i in range(7):
            unreadable(PermissionError(errno.EACCES, "Permission denied", f"{i}.jpg"))
        return []

    monkeypatch.setattr("themo.cli.commands.search.find_pictures", find)
    assert search("el gato") == 2
    *told, more, refused = capsys.readouterr().err.splitlines()
    assert told == [f"{i}.jpg: is left out: Permission denied" for i in range(5)]
    assert more == "2 more are left out"
    assert refused.endswith("pictures: must contain pictures (.jpg, .png, ...), found no readable ones")


def test_thumbnails_excluded_and_unread_files_are_named(
    search: Search, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    content = (folder / "0.jpg").read_bytes()
    for name in ("@eaDir/0.jpg", "trip/@eaDir/SYNOPHOTO_THUMB_M.jpg", "#recycle/1.jpg", "trip/a.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content + name.encode())
    for name in ("a.HEIC", "b.heic", "c.cr2"):
        (folder / name).write_bytes(content)
    monkeypatch.setattr("themo.models.image_files.find_spec", lambda _: None)
    assert search("el gato", "--exclude", "[56].jpg", "--exclude", "trip/*", "--exclude", "no", "--json") == 0
    out, err = capsys.readouterr()
    assert err.splitlines() == [
        "3 folders of thumbnails or deleted files left out: #recycle, @eaDir (2)",
        "--exclude [56].jpg: 2 files and folders left out",
        "--exclude trip/*: 1 file or folder left out",
        "--exclude no: no match",
        "2 pictures left out: .heic (2); to read them: pip install pillow-heif",
        "1 picture left out: .cr2; to read them: pip install rawpy",
        f"{N - 2} pictures; {N - 2} files were new or changed",
        NO_CHANCE.replace(f"has {N}", f"has {N - 2}"),
    ]
    assert json.loads(out)["images"] == N - 2


def test_copies_are_shown_once(search: Search, folder: Path, tmp_path: Path, capsys: Capture) -> None:
    for name in ("copy.jpg", "a/copy.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes((folder / "3.jpg").read_bytes())
    (folder / "6b.jpg").write_bytes((folder / "6.jpg").read_bytes())
    assert search("el gato", "--html", tmp_path / "found.html") == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert len(lines) == N
    assert [line.partition(f"{folder}/")[2] for line in lines if "and" in line.split()] in (
        ["3.jpg  and 2 copies", "6.jpg  and 1 copy"],
        ["6.jpg  and 1 copy", "3.jpg  and 2 copies"],
    )
    html = (tmp_path / "found.html").read_text(encoding="utf-8")
    assert '<span class="copies" title="a/copy.jpg · copy.jpg">y 2 copias</span>' in html
    assert ">y 1 copia</span>" in html
    assert search("el gato", "--json") == 0
    (result,) = json.loads(capsys.readouterr().out)["queries"]
    copies = {Path(match["path"]).name: match["copies"] for match in result["matches"]}
    assert copies["3.jpg"] == [str(folder / "a" / "copy.jpg"), str(folder / "copy.jpg")]
    assert copies["0.jpg"] == []


def test_a_text_that_is_too_long_is_said_to_be_cut(search: Search, capsys: Capture) -> None:
    assert search("perro " * 20, "gato") == 0
    err = capsys.readouterr().err
    assert "Text cut to its first 16 of 22 tokens: perro perro" in err
    assert err.count("Text cut to") == 1


def test_the_newest_version_is_taken_and_named(
    version: Path, folder: Path, tmp_path: Path, settings: SettingsFactory, capsys: Capture
) -> None:
    logs = tmp_path / "logs"
    newer = write_version_of(settings(), logs / "tune" / "mine" / "best", dimension=12)
    np.save(tmp_path / "own.npy", np.ones((400, 6), np.float16))
    own = settings(targets=str(tmp_path / "own.npy"))
    blind = write_version_of(own, logs / "tiny" / "version_2", dimension=6)
    for i, path in enumerate((version, newer, blind)):
        os.utime(path / "student", (i, i))
    arguments = ["search", "el gato", "--images", str(folder), "--logs-dir", str(logs)]
    assert main(arguments) == 0
    assert f"Version: {newer}, the newest (--version-path selects another)" in capsys.readouterr().err
    assert main([*arguments, "--experiment", "tiny"]) == 0
    assert f"Version: {version}, the newest" in capsys.readouterr().err


REFUSED: dict[str, tuple[Callable[[Path], list[object]], str]] = {
    "an empty text": (lambda _: ["el gato", " "], "search: a text must not be empty, got ' '"),
    "an invisible text": (lambda _: ["\u200b"], r"search: a text must not be empty, got '\u200b'"),
    "a text that is no UTF-8": (lambda _: ["\udcff"], "search: a text must be UTF-8, got '\\udcff'"),
    "no text": (lambda _: [], "the following arguments are required: TEXT"),
    "no picture wanted": (lambda _: ["a", "--top", 0], "--top: must be a whole number above 0, got '0'"),
    "an empty pattern": (lambda _: ["a", "--exclude", "/"], "--exclude: must be a pattern such as"),
    "no folder": (lambda f: ["a", "--images", f / "x"], "x: must be a folder, it does not exist"),
    "a file": (lambda f: ["a", "--images", f / "a.txt"], "a.txt: must be a folder, got a file"),
    "no pictures": (
        lambda f: ["a", "--images", f / "texts"],
        "texts: must contain pictures (.jpg, .png, ...)",
    ),
    "only broken ones": (
        lambda f: ["a", "--images", f / "broken"],
        "broken: must contain a readable picture, but all 1 are broken: ",
    ),
    "no version": (lambda f: ["a", "--version-path", f / "x"], "x: must be a version directory"),
    "a page without a folder": (
        lambda f: ["a", "--html", f / "x" / "y"],
        "must be a file in an existing folder",
    ),
    "a folder for a page": (lambda f: ["a", "--html", f], "must be a file in an existing folder"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(search: Search, folder: Path, tmp_path: Path, capsys: Capture, case: str) -> None:
    (tmp_path / "a.txt").touch()
    for name in ("texts/a.txt", "broken/a.jpg"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    make, message = REFUSED[case]
    given = make(tmp_path)
    default = {"--images": folder, "--version-path": tmp_path / "logs" / "tiny" / "version_0"}
    default = {name: value for name, value in default.items() if name not in given}
    arguments = [*given, *(part for item in default.items() for part in item)]
    assert main(["search", *map(str, arguments)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("Error: ")
    assert message in line


def test_a_page_that_cannot_be_written(
    search: Search, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    page = tmp_path / "found.html"
    assert search("el gato") == 0  # its index is written
    capsys.readouterr()
    monkeypatch.setattr(Path, "replace", Mock(side_effect=PermissionError(errno.EPERM, "Not permitted")))
    assert search("el gato", "--html", page) == 2
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1 + N  # what was found is not lost
    assert err.splitlines()[-1] == f"Error: --html {page}: cannot be written: Not permitted"
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) != tmp_path)  # root may write anywhere
    assert search("el gato", "--html", page) == 2
    out, err = capsys.readouterr()
    assert (out, err) == (
        "",
        f"Error: --html {page}: must be in a writable folder, {tmp_path} is not\n",
    )


def test_a_student_without_a_teacher_and_logs_without_a_version(
    folder: Path, tmp_path: Path, settings: SettingsFactory, capsys: Capture
) -> None:
    np.save(tmp_path / "own.npy", np.ones((400, 6), np.float16))
    own = settings(targets=str(tmp_path / "own.npy"))
    blind = write_version_of(own, tmp_path / "logs" / "tiny" / "version_0", dimension=6)
    assert main(["search", "a", "--images", str(folder), "--version-path", str(blind)]) == 2
    assert "version_0: must have a teacher with an image tower, but was trained" in capsys.readouterr().err
    assert main(["search", "a", "--images", str(folder), "--logs-dir", str(tmp_path / "logs")]) == 2
    assert "logs must contain a version to search with, but has none" in capsys.readouterr().err


def test_names_that_are_no_utf8(search: Search, folder: Path, tmp_path: Path, capsys: Capture) -> None:
    os.rename(folder / "0.jpg", os.fsencode(folder) + b"/\xff\x1b[2J.jpg")  # noqa: PTH104 -- bytes
    (folder / "1.jpg").rename(folder / "[red]x[b].jpg")
    assert search("el gato", "--html", tmp_path / "found.html") == 0
    out = capsys.readouterr().out
    assert "\ufffd\ufffd[2J.jpg" in out
    assert "[red]x[b].jpg" in out
    assert "\x1b" not in out
    assert search("el gato", "--json") == 0
    paths = [match["path"] for match in json.loads(capsys.readouterr().out)["queries"][0]["matches"]]
    assert str(folder / "\ufffd\x1b[2J.jpg") in paths


@pytest.mark.slow
def test_as_a_user_calls_it(version: Path, folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "themo", "search", "el gato", "--images", "pictures", "--top", "2"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[0].startswith("Version: logs/tiny/version_0, the newest")
    assert done.stdout.splitlines()[1].split()[2].startswith("pictures/")


@pytest.mark.slow
def test_an_interruption_prints_the_resume_command(
    version: Path, folder: Path, tmp_path: Path, capsys: Capture
) -> None:
    content = (folder / "0.jpg").read_bytes()
    n = 6000  # seconds of work, and too few for processes that decode
    for i in range(n):
        (folder / f"more{i}.jpg").write_bytes(content)
    arguments = ["search", "el gato", "--images", str(folder), "--version-path", str(version)]
    # where these tests run in the background of a shell, they, and so their children, ignore Ctrl-C
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [*warm_start.PYTHON, "-m", "themo", *arguments], stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    signal.signal(signal.SIGINT, before)
    while not list((tmp_path / "cache").glob("pictures-*")):
        assert process.poll() is None
        time.sleep(0.05)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    err = process.communicate(timeout=300)[1]
    assert process.returncode == 130, err
    assert err.splitlines()[-1] == f"Interrupted. To resume: python -m themo {shlex.join(arguments)}"
    capsys.readouterr()
    assert main(arguments) == 0
    told = capsys.readouterr().err.splitlines()[-3]
    assert told.startswith(f"{n + N:,} pictures; ")
