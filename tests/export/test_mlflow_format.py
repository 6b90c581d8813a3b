import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from consumers import assert_same, files, mixed_sentences, run_card
from mlflow import MlflowClient

from benchmarks.chaos.server import free_port
from themo.cli.main import main
from themo.export.exporting import export_version
from themo.export.source import Source
from themo.tracking.uri import tracking_uri

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
]


def test_the_cards_lines(source: Callable[..., Source], tmp_path: Path) -> None:
    opened = source(last_layer_norm=True, projection_bias=True)
    export = export_version(opened, "mlflow", tmp_path / "export")
    assert [path.name for path in tmp_path.glob("*export*")] == ["export"]
    moved = Path(shutil.move(export.folder, tmp_path / "moved"))
    assert not [name for name in files(moved) if name.endswith((".pkl", ".pickle"))]
    assert str(tmp_path) not in (moved / "MLmodel").read_text(encoding="utf-8")
    sentences = mixed_sentences()
    assert_same(run_card(moved, sentences), opened, sentences)


def test_every_form_of_sentences_is_read(source: Callable[..., Source], tmp_path: Path) -> None:
    opened = source()
    folder = export_version(opened, "mlflow", tmp_path / "export").folder
    model = mlflow.pyfunc.load_model(str(folder))
    texts = mixed_sentences(3)
    ids = ["a1", "b2", "c3"]
    forms: list[Any] = [
        texts,
        tuple(texts),
        np.array(texts),
        np.array(texts)[:, None],
        pd.Series(texts),
        pd.DataFrame({"text": texts}),
        pd.DataFrame({"id": [1, 2, 3], "text": texts}),
        pd.DataFrame({"text": pd.Series(texts, dtype="category"), "score": [0.5, 1.0, 2.0]}),
        {"text": texts},
    ]
    for form in forms:
        assert_same(np.array(model.predict(form)), opened, texts)
    assert_same(np.array(model.predict(texts[0])), opened, texts[:1])
    assert model.predict([]) == []
    for bad, message in (
        (pd.DataFrame({"id": ids, "text": texts}), r"one column of text, got id, text of its columns id \("),
        (pd.DataFrame({"id": [1, 2, 3]}), r"one column of text, got none of its columns id \(int64\)"),
        ([texts, texts], r"must be one list, got an array of shape \(2, 3\)"),
        (["a", None], "sentences must be text, got None in row 1"),
    ):
        with pytest.raises(ValueError, match=message):
            model.predict(bad)


def test_registered_and_served(version: Callable[..., Path], tmp_path: Path) -> None:
    """The command, and then a server of MLflow's that knows the registry and nothing of Themo."""
    folder = version(target="state")
    arguments = ["--version-path", str(folder), "--format", "mlflow", "--output", str(tmp_path / "export")]
    assert main(["export", *arguments, "--register", "español"]) == 0
    opened = Source.open(folder)
    uri = tracking_uri(Path(opened.settings.paths.logs_dir))
    client = MlflowClient(tracking_uri=uri)
    (registered,) = client.search_model_versions("name = 'español'")
    run = client.get_run(str(registered.run_id))
    assert run.data.tags["themo.kind"] == "export"
    assert run.data.tags["themo.version"] == str(folder)
    assert run.info.status == "FINISHED"

    port = free_port()
    command = [str(Path(sys.executable).parent / "mlflow"), "models", "serve"]
    command += ["--model-uri", "models:/español/1", "--env-manager", "local"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "MLFLOW_TRACKING_URI": uri,
        "OMP_NUM_THREADS": "1",
    }
    log = tmp_path / "server.log"
    with log.open("w") as out:
        server = subprocess.Popen(
            command, env=environment, cwd=tmp_path, stdout=out, stderr=out, start_new_session=True
        )
    try:
        sentences = ["el niño rojo corre", "duerme", "canta el búho muy pequeño"]
        answer = _ask(port, {"inputs": sentences}, server, log)
        assert_same(np.array(answer["predictions"]), opened, sentences)
        table = {"columns": ["id", "text"], "data": [[i, text] for i, text in enumerate(sentences)]}
        answer = _ask(port, {"dataframe_split": table}, server, log)
        assert_same(np.array(answer["predictions"]), opened, sentences)
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(60)


def _ask(
    port: int, request: dict[str, object], server: subprocess.Popen[bytes], log: Path
) -> dict[str, list]:
    body = json.dumps(request).encode()
    until = time.monotonic() + 300
    while True:
        asked = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations", body, {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(asked, timeout=30) as answer:  # noqa: S310
                result: dict[str, list] = json.load(answer)
                return result
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode() + log.read_text()) from error
        except OSError:
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.5)


def test_a_server_that_is_not_there(
    version: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    arguments = ["--version-path", str(version()), "--format", "mlflow", "--output", str(tmp_path / "export")]
    assert main(["export", *arguments, "--register", "es"]) == 2
    assert re.search(r"Error: MLFLOW_TRACKING_URI: no MLflow server answers at", capsys.readouterr().err)
    assert not (tmp_path / "export").exists()
