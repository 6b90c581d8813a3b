import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from consumers import assert_same, own_vectors
from torch.nn import functional

from themo.checkpoints.versions import read_settings
from themo.config.benchmarks import BenchmarkSettings
from themo.errors import InputError
from themo.export.source import Source

TEXTS = ["el niño rojo corre", "duerme", "canta el búho muy pequeño"]


@pytest.mark.parametrize("target", ["embedding", "unit", "state"])
def test_vectors_lie_among_the_images(source: Callable[..., Source], target: str) -> None:
    opened = source(target=target, projection_bias=target == "state")
    assert opened.is_projected == (target == "state")
    student = opened.student
    assert student.head.dimension == 12
    assert_same(student.encode(opened.tokenizer, TEXTS), opened, TEXTS)


def test_a_projection_with_bias_on_both_sides(source: Callable[..., Source]) -> None:
    opened = source(target="state", projection_bias=True)
    from themo.export.source import project

    map_DE = torch.randn(17, 12, generator=torch.Generator().manual_seed(0))
    expected = opened.trained.encode(opened.tokenizer, TEXTS) @ map_DE[:-1] + map_DE[-1]
    found = project(opened.trained, map_DE).encode(opened.tokenizer, TEXTS)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_student_of_own_vectors_stays_where_it_is(
    source: Callable[..., Source], tmp_path: Path, tiny_corpus: Path
) -> None:
    n_rows = len(tiny_corpus.read_text(encoding="utf-8").splitlines()) - 1
    np.save(tmp_path / "own.npy", np.random.default_rng(0).normal(size=(n_rows, 7)).astype(np.float32))
    opened = source(targets=str(tmp_path / "own.npy"), target="state")
    assert not opened.has_teacher
    assert own_vectors(opened, TEXTS).shape == (3, 7)
    assert_same(opened.student.encode(opened.tokenizer, TEXTS), opened, TEXTS)
    with pytest.raises(
        InputError, match=r"must have a teacher with an image tower, but .* data\.targets .*own\.npy"
    ):
        _ = opened.teacher


def test_an_unfinished_run(version: Callable[..., Path]) -> None:
    folder = version()
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    (folder / "summary.json").write_text(json.dumps(summary | {"state": "running"}), encoding="utf-8")
    with pytest.raises(
        InputError, match=r"version_0: its run must be finished to be exported, .* says 'running'; .*--resume"
    ):
        Source.open(folder)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda v: (v / "summary.json").unlink(), r"has no readable summary\.json"),
        (lambda v: (v / "config.yaml").unlink(), r"must be a version directory, but has no config\.yaml"),
        (
            lambda v: os.truncate(v / "student" / "model.safetensors", 100),
            r"student: is not a complete student",
        ),
        (
            lambda v: (v / "test.json").write_text("{}"),
            r"test\.json: is not a valid test record",
        ),
        (lambda v: (v / "summary.json").write_text("[]"), r"summary\.json: must be the record of a run, got"),
        (lambda v: (v / "summary.json").write_text("{}"), r"a run, but has no `state`"),
        (
            lambda v: (v / "test.json").write_text('{"student": {}, "n": {"retrieval": 3}, "ci95": {}}'),
            r"test\.json: is not a valid test record",
        ),
        (lambda v: (v / "test.json").write_text("[1]"), r"test\.json: is not a valid test record"),
        (
            lambda v: (v / "test.json").write_text('{"n": {}, "ci95": {}}'),
            r"test\.json: is not a valid test record; `test --version-path .*` writes a new one",
        ),
    ],
)
def test_a_damaged_version(
    version: Callable[..., Path], damage: Callable[[Path], object], message: str
) -> None:
    folder = version()
    damage(folder)
    with pytest.raises(InputError, match=message):
        Source.open(folder)


def test_a_teacher_that_is_gone(version: Callable[..., Path], tmp_path: Path) -> None:
    folder = version(target="state")
    opened = Source.open(folder, {"architecture": str(tmp_path / "gone")})
    with pytest.raises(InputError, match=r"teacher\.architecture .*gone: cannot be loaded: "):
        _ = opened.student
    # its vectors are where the images are already: no teacher is needed
    assert Source.open(folder, {"architecture": "gone", "target": "embedding"}).student is not None


def test_a_student_of_another_teacher(version: Callable[..., Path]) -> None:
    opened = Source.open(version(target="embedding"), {"target": "state"})
    with pytest.raises(InputError, match="must have the teacher's 16 dimensions, got 12"):
        _ = opened.student


def test_stirred_students_need_every_part(source: Callable[..., Source]) -> None:
    """The students of these tests would show a lost bias or layer norm."""
    opened = source(projection_bias=True, last_layer_norm=True)
    whole = opened.trained.encode(opened.tokenizer, TEXTS)
    with torch.no_grad():
        opened.trained.projection.bias.zero_()
    assert functional.cosine_similarity(whole, opened.trained.encode(opened.tokenizer, TEXTS)).max() < 0.999


def test_a_test_on_other_data_is_described_as_such(version: Callable[..., Path]) -> None:
    folder = version()
    share = {"retrieval@01": 0.5, "retrieval@05": 0.6, "retrieval@10": 0.7}
    scores = {
        "student": share,
        "n": {"retrieval": 3},
        "ci95": {"student": {name: [0.1, 0.9] for name in share}},
        "benchmarks": BenchmarkSettings(language="it").model_dump(mode="json"),
    }
    (folder / "test.json").write_text(json.dumps(scores), encoding="utf-8")
    assert Source.open(folder).settings.benchmarks.language == "it"
    scores["benchmarks"]["language"] = 7
    (folder / "test.json").write_text(json.dumps(scores), encoding="utf-8")
    with pytest.raises(InputError, match=r"test\.json: is not a valid test record"):
        Source.open(folder)


def test_the_cache_is_found_from_another_folder(
    version: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the teacher of a miniature version would be rebuilt in the wrong folder."""
    folder = version()
    settings = read_settings(folder).override({"cache_dir": "kept/here"})
    (folder / "config.yaml").write_text(settings.to_yaml(), encoding="utf-8")
    (tmp_path / "kept" / "here").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert Source.open(folder).settings.paths.cache_dir == str(tmp_path / "kept" / "here")
    assert Source.open(folder, {"cache_dir": "mine"}).settings.paths.cache_dir == "mine"
