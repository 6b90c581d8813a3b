"""The runtime that a student gets."""

import json
from pathlib import Path

import pytest
from tiny import write_version_of

import themo
from themo.config.settings import Settings
from themo.models.runtimes import choice


def student_of(folder: Path, n_bytes: int, kind: str = "bert") -> Path:
    """A folder whose weights have a size and no content."""
    folder.mkdir(exist_ok=True)
    with (folder / "model.safetensors").open("wb") as file:
        file.truncate(n_bytes)
    (folder / "config.json").write_text(json.dumps({"model_type": kind}), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("missing", "bfloat16", "expected"),
    [
        ((), True, "openvino"),
        ((), False, "openvino"),
        (("openvino",), False, "onnx"),
        (("openvino",), True, "torch"),
        (("openvino", "onnxruntime"), False, "torch"),
        (("onnx",), False, "torch"),
    ],
)
def test_the_fastest_of_the_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: tuple[str, ...], bfloat16: bool, expected: str
) -> None:
    monkeypatch.setattr(choice, "find_spec", lambda name: None if name in missing else name)
    monkeypatch.setattr(choice, "multiplies_bfloat16", lambda: bfloat16)
    assert choice.fastest(student_of(tmp_path / "beto", 440_000_000), "cpu") == expected


def test_pytorch_for_small_huge_unknown_and_on_gpus(tmp_path: Path) -> None:
    beto = student_of(tmp_path / "a", 440_000_000)
    assert choice.fastest(beto, "cpu") == "openvino"
    assert choice.fastest(beto, "cuda") == "torch"
    assert choice.fastest(student_of(tmp_path / "b", 4_000_000), "cpu") == "torch"
    assert choice.fastest(student_of(tmp_path / "c", 2_200_000_000), "cpu") == "torch"
    assert choice.fastest(student_of(tmp_path / "d", 440_000_000, "electra"), "cpu") == "torch"
    assert choice.fastest(tmp_path / "nosuch", "cpu") == "torch"


def test_a_small_student_stays_with_pytorch(tmp_path: Path, tiny_settings: Settings) -> None:
    version = write_version_of(tiny_settings, tmp_path / "version_0", dimension=12)
    assert themo.load(version).runtime == "torch"
    assert repr(themo.load(version)).endswith(" on cpu>")


def test_refused_runtimes(tmp_path: Path, tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    version = write_version_of(tiny_settings, tmp_path / "version_0", dimension=12)
    with pytest.raises(
        themo.InputError, match="runtime: must be one of auto, torch, onnx, openvino, got 'jax'"
    ):
        themo.load(version, runtime="jax")
    with pytest.raises(themo.InputError, match="runtime 'openvino' computes on a CPU, got device 'cuda'"):
        themo.load(version, runtime="openvino", device="cuda")
    monkeypatch.setitem(choice.PACKAGES, "openvino", ("onnx", "nosuchpackage"))
    with pytest.raises(themo.InputError) as refused:
        themo.load(version, runtime="openvino")
    assert str(refused.value) == (
        "runtime 'openvino' needs the extra `export` (missing: nosuchpackage): "
        ".venv/bin/uv pip install --constraint requirements.lock --editable '.[export]'"
    )
