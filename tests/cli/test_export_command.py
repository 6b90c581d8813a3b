"""``themo export`` as a user runs it: refusals, output and uploads."""

import base64
import io
import json
import subprocess
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import warm_start
from documents import PROJECT
from huggingface_hub import ModelCard
from rich.console import Console
from safetensors.torch import load
from tiny import SettingsFactory

from themo.cli.main import main
from themo.data.dataset import TrainingData
from themo.models.runtimes.choice import install_command
from themo.process import progress
from themo.training.loop import train

Capture = pytest.CaptureFixture[str]

_statuses: list[str | None] = []
"""Statuses of an export's run, one for each update of MLflow."""


@pytest.fixture
def version(settings: SettingsFactory, tiny_data: TrainingData, tmp_path: Path) -> Path:
    folder = tmp_path / "version_0"
    train(settings(epochs=0.2), tiny_data, report=lambda last: last.save(folder))
    return folder


@pytest.fixture
def _mlflow_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither its model format nor its database, which take seconds to begin."""
    monkeypatch.setattr("themo.export.mlflow_format.write", lambda *_: [])
    monkeypatch.setattr("themo.tracking.mirror.Mirror.connect", lambda _: None)
    monkeypatch.setattr(
        "themo.tracking.mirror.Mirror.sync", lambda _, projection: _statuses.append(projection.runs[0].status)
    )


def refusal(capture: Capture, *arguments: object) -> str:
    assert main(["export", *map(str, arguments)]) == 2
    out, err = capture.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    return line.removeprefix("Error: ")


@pytest.mark.parametrize("format_name", ["onnx", "openvino", "mlflow", "immich"])
def test_a_missing_extra_is_refused_first(
    format_name: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the version is looked for, and thus before libraries are imported."""
    monkeypatch.setattr("themo.export.refusals.find_spec", lambda _: None)
    message = refusal(capsys, "none", "--format", format_name, "--output", tmp_path / "a")
    assert message.startswith(f"--format {format_name} needs the extra `export` (missing: onnx, onnxscript, ")
    command = message.rpartition("): ")[2]
    assert command == install_command("export")
    assert f"\n{command}\n" in (PROJECT / "docs/exports.md").read_text(encoding="utf-8")


def test_a_folder_and_its_json(version: Path, tmp_path: Path, capsys: Capture) -> None:
    arguments = ["--version-path", version, "--output", tmp_path / "a", "--format", "transformers", "--json"]
    assert main(["export", *map(str, arguments)]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result == {
        "folder": str(tmp_path / "a"),
        "format": "transformers",
        "dimension": 12,
        "notes": result["notes"],
    }
    assert "head.safetensors" in result["notes"][0]
    assert ModelCard((tmp_path / "a" / "README.md").read_text(encoding="utf-8")).data.language == ["es"]


def test_a_terminal_shows_progress(version: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(progress, "console", Console(file=screen, force_terminal=True, width=120))
    arguments = ["--version-path", version, "--output", tmp_path / "a", "--format", "transformers"]
    assert main(["export", *map(str, arguments)]) == 0
    for work in ("Loading libraries", "Loading the student", "Writing transformers"):
        assert work in screen.getvalue()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--format", "onnx", "--output", "x", "--logs-dir", "nosuch"],
            "nosuch must contain a version to export",
        ),
        (["--version-path", "v", "--output", "x"], "the following arguments are required: --format"),
        (["--version-path", "v", "--format", "onnx"], "the following arguments are required: --output"),
        (
            ["--version-path", "v", "--output", "x", "--format", "keras"],
            "argument --format: invalid choice: 'keras'",
        ),
        (
            ["--version-path", "v", "--output", "x", "--format", "onnx", "--register", "a"],
            "--register is for --format mlflow, got --format onnx",
        ),
        (
            ["--version-path", "v", "--output", "x", "--format", "mlflow", "--register", "a/b"],
            "--register must be letters, digits, spaces and . _ -, got 'a/b'",
        ),
        (
            ["--version-path", "v", "--output", "x", "--format", "mlflow", "--push-to", "a/b"],
            "--push-to must have a format of the hub's libraries, got --format mlflow; --register NAME",
        ),
        (
            ["--version-path", "nosuch", "--output", "x", "--format", "onnx"],
            "nosuch: must be a version directory, but does not exist",
        ),
    ],
)
def test_bad_usage(arguments: list[str], message: str, capsys: Capture) -> None:
    assert message in refusal(capsys, *arguments)


def test_bad_input(version: Path, tmp_path: Path, capsys: Capture) -> None:
    given = ("--version-path", version, "--output")
    into = (*given, tmp_path / "out", "--format")
    assert (
        refusal(capsys, *into, "open_clip", "--int8") == "--int8 is for --format onnx, got --format open_clip"
    )
    assert (
        refusal(capsys, *into, "onnx", "--sentences", "x")
        == "--sentences needs --int8, whose loss is measured on them, or --format static"
    )
    assert (
        refusal(capsys, *into, "transformers", "--push-to", "a/b/c")
        == "--push-to must be a repository of the hub, owner/name, got 'a/b/c'"
    )
    assert f"--output {version}: must be an empty or new folder, but has 5 entries" == refusal(
        capsys, *given, version, "--format", "transformers"
    )
    summary = json.loads((version / "summary.json").read_text(encoding="utf-8"))
    (version / "summary.json").write_text(json.dumps(summary | {"state": "running"}), encoding="utf-8")
    assert "its run must be finished to be exported" in refusal(capsys, *into, "transformers")
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("_mlflow_writes_nothing")
@pytest.mark.parametrize(
    ("options", "step", "go_on"),
    [
        (
            ["--format", "transformers", "--push-to", "owner/clip-es"],
            "themo.fetching.hub.push_folder",
            " To resume: hf upload owner/clip-es '{output}' .",
        ),
        (["--format", "mlflow", "--register", "es"], "themo.tracking.runs.Tracking.register", ""),
    ],
)
def test_interrupted_after_the_export_names_no_refused_command(
    version: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
    options: list[str],
    step: str,
    go_on: str,
) -> None:
    def press_ctrl_c(*_: object) -> None:
        raise KeyboardInterrupt

    _statuses.clear()
    monkeypatch.setattr(step, press_ctrl_c)
    output = tmp_path / "my export"
    assert main(["export", "--version-path", str(version), "--output", str(output), *options]) == 130
    written, *_, last = capsys.readouterr().err.splitlines()
    assert written == f"Written:       {output}"
    assert last == f"Interrupted.{go_on.format(output=output)}"
    assert (output / "README.md").is_file()
    assert _statuses[-1:] == ([] if go_on else ["KILLED"])


def test_mlflow_registers_nothing_unless_it_is_asked(
    version: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr("themo.export.mlflow_format.write", lambda *_: [])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # nobody answers there
    arguments = ["--version-path", str(version), "--format", "mlflow", "--output", str(tmp_path / "out")]
    assert main(["export", *arguments, "--json"]) == 0
    assert "registered" not in json.loads(capsys.readouterr().out)
    assert (tmp_path / "out" / "README.md").is_file()


# --- the hub ---


class Hub:
    """A hub with the routes that its client needs to upload a folder."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.created: list[dict[str, Any]] = []
        self.tokens: set[str | None] = set()


@pytest.fixture
def hub() -> Iterator[tuple[Hub, str]]:
    state = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer({}, 404)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            state.tokens.add(self.headers.get("authorization"))
            path = self.path.partition("?")[0]
            if path == "/api/repos/create":
                state.created.append(json.loads(body))
                self._answer({"url": f"{address}/owner/clip-es", "name": "owner/clip-es"})
            elif path == "/api/validate-yaml":
                self._answer({"errors": [], "warnings": []})
            elif path == "/api/models/owner/clip-es/preupload/main":
                asked = json.loads(body)["files"]
                modes = [
                    {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None}
                    for f in asked
                ]
                self._answer({"files": modes})
            elif path == "/api/models/owner/clip-es/commit/main":
                for line in map(json.loads, body.splitlines()):
                    if line["key"] == "file":
                        state.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                commit = f"{address}/owner/clip-es/commit/0"
                self._answer({"commitUrl": commit, "commitOid": "0" * 40, "hookOutput": ""})
            else:
                self._answer({}, 404)

        def _answer(self, content: object, status: int = 200) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield state, address
    server.shutdown()
    server.server_close()
    thread.join()


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(version: Path, tmp_path: Path) -> Run:
    """The command in a process of its own: the hub's client reads its environment at its import."""

    def run_command(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)} | warm_start.variables()
        command = [*warm_start.PYTHON, "-m", "themo", "export", "--version-path", str(version), *arguments]
        return subprocess.run(
            command, env=environment | variables, capture_output=True, text=True, cwd=tmp_path, check=False
        )

    return run_command


@pytest.mark.slow
def test_pushed_to_the_hub(run: Run, hub: tuple[Hub, str], tmp_path: Path) -> None:
    state, address = hub
    arguments = ("--format", "open_clip", "--output", "out", "--push-to", "owner/clip-es")
    done = run(*arguments, HF_ENDPOINT=address, HF_TOKEN="hf_none")  # noqa: S106
    assert done.returncode == 0, done.stderr
    assert f"On the hub:    {address}/owner/clip-es" in done.stderr
    assert state.created[0]["name"] == "clip-es"
    assert state.tokens == {"Bearer hf_none"}
    written = {p.relative_to(tmp_path / "out").as_posix(): p for p in (tmp_path / "out").rglob("*")}
    assert {name: path.read_bytes() for name, path in written.items()} == state.files
    # open_clip asks the hub for the text tower by the repository's own name
    config = json.loads(state.files["open_clip_config.json"])
    assert config["model_cfg"]["text_cfg"]["hf_model_name"] == "owner/clip-es"
    assert load(state.files["open_clip_model.safetensors"])["text.proj.weight"].shape == (12, 32)
    card = state.files["README.md"].decode()
    assert 'place = snapshot_download("owner/clip-es")' in card
    assert "clip_benchmark eval --model hf-hub:owner/clip-es" in card
    assert "after a move" not in card


@pytest.mark.slow
def test_a_hub_that_does_not_answer(run: Run, tmp_path: Path) -> None:
    arguments = ("--format", "transformers", "--output", "out", "--push-to", "owner/clip-es")
    done = run(*arguments, HF_ENDPOINT="http://127.0.0.1:9", HF_TOKEN="hf_none")  # noqa: S106
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("Error: --push-to owner/clip-es: http://127.0.0.1:9 refused the upload: ")
    assert last.endswith(
        "check the network and HF_TOKEN. The export is complete in out; to retry: "
        "hf upload owner/clip-es out ."
    )
    assert (tmp_path / "out" / "README.md").is_file()
