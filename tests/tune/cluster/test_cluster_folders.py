"""Folders that Ray cannot use, refused before a search begins."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from themo.cli.main import main
from themo.errors import InputError
from tune.cluster.folders import refuse_unfit_folders

LONG = "/tmp/" + "x" * 60  # noqa: S108


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("RAY_TMPDIR", "TMPDIR", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"TMPDIR": LONG}, rf"^TMPDIR: must have at most \d\d bytes, .* got 65: {LONG}; set RAY_TMPDIR to"),
        ({"TMPDIR": "/tmp", "RAY_TMPDIR": LONG}, "^RAY_TMPDIR: must have at most"),  # noqa: S108
        ({"TMPDIR": "/dev/null/x"}, "^TMPDIR: must be a writable folder, .* got /dev/null/x: set"),
        ({"HOME": "/dev/null/x"}, "^HOME: must be a writable folder, because Ray keeps its token"),
    ],
)
def test_a_folder_that_ray_cannot_use_is_refused(
    variables, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=message):
        refuse_unfit_folders(None)
    refuse_unfit_folders("head:6379")


def test_the_longest_path_is_that_of_rays_own_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's name of a session has the time in it, which is of one length, and the process."""
    rest = f"/ray/session_2026-11-28_19-26-21_123456_{os.getpid()}/sockets/plasma_store"
    monkeypatch.setenv("TMPDIR", "/tmp/" + "x" * (107 - len("/tmp/") - len(rest)))  # noqa: S108
    refuse_unfit_folders(None)
    monkeypatch.setenv("TMPDIR", os.environ["TMPDIR"] + "x")
    with pytest.raises(InputError):
        refuse_unfit_folders(None)


def test_a_token_elsewhere_needs_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/dev/null/x")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/run/token")
    refuse_unfit_folders("local")


def test_the_name_of_a_refused_search_stays_free(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("TMPDIR", LONG)
    assert main(["tune", "--name", "mine", "--logs-dir", str(tmp_path / "logs")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("Error: TMPDIR: must have at most")
    assert not (tmp_path / "logs").exists()
