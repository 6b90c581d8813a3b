"""Vectors of texts by PyTorch, ONNX Runtime and OpenVINO."""

import os
import pickle
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny import write_version_of

import themo
from themo.config.settings import Settings
from themo.files.atomic import replace_folder
from themo.files.weights import write_weights
from themo.models.runtimes import encoder as encoders
from themo.models.student import load_student

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

TEXTS = ["el gato rojo corre", "canta el búho muy viejo y pequeño", "el perro", "el gato"] * 20
GRAPHS = ["onnx", "openvino"]


@pytest.fixture
def version(tmp_path: Path, tiny_settings: Settings) -> Path:
    return write_version_of(tiny_settings, tmp_path / "logs" / "tiny" / "version_0", dimension=12)


def least_cosine(first: np.ndarray, second: np.ndarray) -> float:
    return float(torch.cosine_similarity(torch.from_numpy(first), torch.from_numpy(second)).min())


@pytest.mark.parametrize("runtime", GRAPHS)
def test_a_runtime_gives_the_students_vectors(
    version: Path, runtime: str, capfd: pytest.CaptureFixture[str]
) -> None:
    student, tokenizer = load_student(version / "student")
    exact = student.encode(tokenizer, TEXTS).numpy()
    model = themo.load(version, runtime=runtime)
    assert f"Preparing the text encoder for {encoders.TITLES[runtime]}, once: " in capfd.readouterr().err
    assert (model.runtime, model.max_length, model.dimension) == (runtime, themo.load(version).max_length, 12)
    assert repr(model).endswith(f" on cpu by {runtime}>")
    for batch_size in (1, 7, 128):  # with and without padding
        assert least_cosine(model.encode(TEXTS, batch_size=batch_size), exact) >= 0.9999
    assert model.encode([]).shape == (0, 12)
    assert model.count_tokens(TEXTS) == themo.load(version).count_tokens(TEXTS)
    themo.load(version, runtime=runtime)
    assert capfd.readouterr().err == ""  # found in the cache


def test_a_student_replaced_before_its_graph_leaves_no_graph(
    version: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the cache would give the graph of the new student to copies of the old one."""
    copy = Path(shutil.copytree(version, version.with_name("copy")))
    plain, n_loads = encoders.load_student, 0

    def load(folder: Path) -> Any:
        nonlocal n_loads
        n_loads += 1
        if n_loads == 1:
            replace_folder(folder, write)
        return plain(folder)

    def write(new: Path) -> None:
        shutil.copytree(copy / "student", new, dirs_exist_ok=True)
        tensors = {name: -tensor for name, tensor in load_file(new / "head.safetensors").items()}
        write_weights(tensors, new / "head.safetensors", {"format": "pt"})

    monkeypatch.setattr(encoders, "load_student", load)
    new = themo.load(version, runtime="onnx").encode(TEXTS)
    assert n_loads == 2
    assert least_cosine(themo.load(copy, runtime="onnx").encode(TEXTS), -new) >= 0.9999
    assert n_loads == 3, "a graph of its own"


def test_a_changed_student_gets_a_graph_of_its_own(version: Path) -> None:
    before = themo.load(version, runtime="openvino").encode(TEXTS)
    path = version / "student" / "head.safetensors"
    tensors = load_file(path)
    tensors["projection.weight"][:6] *= -1
    write_weights(tensors, path, {"format": "pt"})
    after = themo.load(version, runtime="openvino").encode(TEXTS)
    assert least_cosine(after, themo.load(version, runtime="torch").encode(TEXTS)) >= 0.9999
    assert least_cosine(after, before) < 0.9


@pytest.mark.parametrize("runtime", GRAPHS)
def test_threads_share_a_model(version: Path, runtime: str) -> None:
    model = themo.load(version, runtime=runtime)
    expected = {n: model.encode(TEXTS[:n], batch_size=4) for n in range(1, 33)}
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda n: model.encode(TEXTS[:n], batch_size=4), expected)
        for n, vectors in zip(expected, found, strict=True):
            assert least_cosine(vectors, expected[n]) >= 0.99999


@pytest.mark.parametrize("runtime", GRAPHS)
def test_a_model_is_pickled_without_its_session(version: Path, runtime: str) -> None:
    model = themo.load(version, runtime=runtime)
    copy = pickle.loads(pickle.dumps(model))  # noqa: S301 -- what a process pool does
    np.testing.assert_array_equal(copy.encode(TEXTS), model.encode(TEXTS))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.parametrize("runtime", GRAPHS)
def test_a_forked_child_encodes_with_its_runtime(version: Path, runtime: str) -> None:
    script = f"""
import os
import numpy as np, torch, themo
torch.set_num_threads(4)
model = themo.load({str(version)!r}, runtime={runtime!r})
texts = ["el gato rojo corre", "el perro"] * 500
before = model.encode(texts, batch_size=1000)
child = os.fork()
np.testing.assert_allclose(model.encode(texts, batch_size=1000), before, atol=1e-5)
if child == 0:
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.stdout == "0\n", done.stderr


def test_a_graph_of_other_vectors_is_refused(
    version: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    write_graph = encoders.write_graph

    def write_another(path: Path, student: torch.nn.Module) -> None:
        before = student.projection.weight.clone()
        with torch.no_grad():
            student.projection.weight[0] *= -3
            write_graph(path, student)
            student.projection.weight.copy_(before)

    monkeypatch.setattr(encoders, "write_graph", write_another)
    with pytest.raises(
        themo.InputError, match=r"the vectors of runtime 'onnx' differ from PyTorch's: .* 0\.9999"
    ):
        themo.load(version, runtime="onnx")
    monkeypatch.setattr(encoders, "fastest", lambda *_: "onnx")
    capfd.readouterr()
    assert themo.load(version).runtime == "torch"
    assert "; texts are encoded by PyTorch\n" in capfd.readouterr().err


def test_a_student_beyond_a_graphs_size(version: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "MOST_BYTES", 1000)
    with pytest.raises(
        themo.InputError, match=r"runtime 'onnx' supports at most 0\.0 GB of weights, got 0\.0"
    ):
        themo.load(version, runtime="onnx")
