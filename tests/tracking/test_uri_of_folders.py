"""Folders of any name: the database, its artifacts and the commands that are printed for them."""

from __future__ import annotations

import os
import shlex
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy import URL, make_url

from themo.cli.main import main
from themo.errors import InputError
from themo.tracking.connection import open_experiment
from themo.tracking.mirror import Mirror
from themo.tracking.projection import Projection, Run
from themo.tracking.unsent import MARK_FILE, destination_of
from themo.tracking.uri import (
    check_reachable,
    default_uri,
    is_same_place,
    sqlite_file,
    sqlite_uri,
    tracking_uri,
    ui_command,
)

# what mlflow and sqlalchemy do among themselves
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")

names = st.text(st.sampled_from("ab20 ?#%&'\"[]ñ+;:@=,~!$*(){}\\é"), min_size=1, max_size=8).filter(
    lambda name: name not in (".", "..")
)


@given(names)
@example("a?b")
@example("a%20b")
@example("a b")
@example("%3F")
@example("a#b")
@example(":memory:")
def test_a_database_address_leads_back_to_its_file(name: str) -> None:
    file = Path("/home") / name / "mlflow.db"
    uri = sqlite_uri(file)
    assert make_url(uri).database == str(file)
    assert "%" in uri or uri == str(URL.create("sqlite", database=str(file)))
    assert uri.startswith("sqlite:///") == ("%" not in uri), "MLflow makes the encoded folder of the former"
    assert sqlite_file(uri) == file
    assert is_same_place(uri, uri)
    assert not is_same_place(uri, sqlite_uri(file.with_name("other.db")))
    assert shlex.split(ui_command(uri)) == ["mlflow", "ui", "--backend-store-uri", uri]


@pytest.mark.parametrize("command", [["train"], ["tune", "--num-samples", "1"]], ids=lambda words: words[0])
def test_a_folder_that_is_no_utf8_is_refused_in_a_line(
    command: list[str], tmp_path: Path, tiny_config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also a folder of UTF-8 in a locale without it: Python reads its name as such bytes."""
    logs = tmp_path / os.fsdecode(b"ni\xf1o")
    assert main([*command, "--config", str(tiny_config), "--logs-dir", str(logs)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"Error: {tmp_path}/ni\ufffdo/mlflow.db: the path of MLflow's database must be UTF-8 "
        "(a locale without it: set LC_ALL=C.UTF-8); or name a server by MLFLOW_TRACKING_URI"
    )
    assert not logs.exists()


@given(names)
@settings(max_examples=15)
@example("a?b")
@example("a%20b")
@example("ñ")
def test_database_and_artifacts_stay_inside_the_folder(name: str) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        parent = Path(temporary).resolve()
        uri = default_uri(parent / name)
        check_reachable(uri)
        assert [path.name for path in parent.iterdir()] == [name]


@pytest.mark.slow  # MLflow makes its tables
@pytest.mark.parametrize("name", ["a?b", "a%20b", "a#b&c", "'a\"[b]", "ñ é", "%3F?"])
def test_a_run_of_a_folder_stays_in_it(tmp_path: Path, name: str) -> None:
    logs = tmp_path / name
    uri = tracking_uri(logs)
    check_reachable(uri)
    Mirror(uri, "here").sync(Projection((Run("key", "run", files={"settings.json": "{}"}),)))
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (logs / "mlflow.db").is_file()
    assert [path.name for path in (logs / "mlartifacts").rglob("*.json")] == ["settings.json"]


@pytest.mark.slow  # MLflow makes its tables
def test_a_database_is_made_from_any_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow writes the place of experiment 0, by default the working directory, into SQL."""
    here = tmp_path / "'a' \"b\" :c \\"
    here.mkdir()
    monkeypatch.chdir(here)
    variables = dict(os.environ)
    client, _ = open_experiment(tracking_uri(Path("logs")), "here")
    assert client.get_experiment("0").artifact_location.startswith("file://")
    assert {name for name in os.environ.keys() - variables if "ARTIFACT" in name} == set()
    assert [path.name for path in here.iterdir()] == ["logs"]


@given(names)
def test_a_printed_command_is_one_that_the_shell_reads_back(name: str) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve() / name
        folder.mkdir(parents=True)
        (folder / MARK_FILE).write_text("{")
        with pytest.raises(InputError) as refused:
            destination_of(folder)
        command = str(refused.value).partition("give the folder to ")[2]
        assert shlex.split(command) == ["python", "-m", "themo", "send", str(folder)]
