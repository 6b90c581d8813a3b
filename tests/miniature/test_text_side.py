from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch

from themo.config.miniature import MiniatureRecipe
from themo.errors import InputError
from themo.miniature import text_side as module
from themo.miniature.building import build
from themo.miniature.teaching import train_teacher
from themo.miniature.text_side import LocalTextSide, TextProcess, text_side
from themo.miniature.vocabulary import write_bpe

RECIPE = MiniatureRecipe(teacher_steps=4, teacher_families=3, teacher_warmup_steps=1)


@pytest.fixture
def bpe(tmp_path: Path) -> Path:
    path = tmp_path / "bpe.txt.gz"
    write_bpe(path)
    return path


@pytest.mark.slow
def test_one_process_and_two_train_the_same_teacher_to_the_bit(
    bpe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WORTH_STEPS", 1)
    contents = []
    for n_cores, kind in ((1, LocalTextSide), (2, TextProcess)):
        monkeypatch.setattr(module, "cores", lambda n_cores=n_cores: n_cores)
        with text_side(RECIPE, bpe) as text:
            assert isinstance(text, kind)
            train_teacher(RECIPE, text, tmp_path)
        contents.append((tmp_path / "open_clip_model.safetensors").read_bytes())
    assert contents[0] == contents[1]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux alone binds processes to cores")
def test_two_processes_on_one_core_train_the_same_teacher(bpe: Path, tmp_path: Path) -> None:
    """The same as one process on all cores; two processes on all cores are compared with that above."""
    train_teacher(RECIPE, LocalTextSide(RECIPE, bpe), tmp_path)
    expected = (tmp_path / "open_clip_model.safetensors").read_bytes()
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        with TextProcess(RECIPE, bpe) as text:
            train_teacher(RECIPE, text, tmp_path)
    finally:
        os.sched_setaffinity(0, before)
    assert (tmp_path / "open_clip_model.safetensors").read_bytes() == expected


def test_threads_of_the_caller_do_not_change_the_teacher(bpe: Path, tmp_path: Path) -> None:
    contents, before = [], torch.get_num_threads()
    for n_threads in (1, 2):
        torch.set_num_threads(n_threads)
        try:
            train_teacher(RECIPE, LocalTextSide(RECIPE, bpe), tmp_path)
            assert torch.get_num_threads() == n_threads
        finally:
            torch.set_num_threads(before)
        contents.append((tmp_path / "open_clip_model.safetensors").read_bytes())
    assert contents[0] == contents[1]


def test_few_steps_start_no_process(bpe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "cores", lambda: 2)
    with text_side(RECIPE, bpe) as text:
        assert isinstance(text, LocalTextSide)


def test_a_process_that_dies_is_reported_with_its_exit_code(bpe: Path) -> None:
    with TextProcess(RECIPE, bpe) as text:
        os.kill(text._process.pid, signal.SIGKILL)
        with pytest.raises(RuntimeError, match=r"text tower ended with code -9"):
            text.batch()
        with pytest.raises(RuntimeError, match=r"text tower ended with code -9"):
            text.update(torch.zeros(12, 64))


def test_an_error_of_the_process_reaches_standard_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with (
        TextProcess(RECIPE, tmp_path / "missing.gz") as text,
        pytest.raises(RuntimeError, match=r"text tower ended with code 1"),
    ):
        text.batch()
    assert "missing.gz" in capfd.readouterr().err


@pytest.mark.slow
def test_the_process_ends_when_its_caller_hangs_up(bpe: Path) -> None:
    with TextProcess(RECIPE, bpe) as text:
        text.batch()
        text.vectors()
        text._to.close()
        assert text._process.wait(timeout=60) == 0


def test_a_refused_recipe_leaves_no_process_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[TextProcess] = []

    class Watched(TextProcess):
        def __enter__(self) -> TextProcess:
            started.append(self)
            return super().__enter__()

    monkeypatch.setattr(module, "TextProcess", Watched)
    monkeypatch.setattr(module, "cores", lambda: 2)
    with pytest.raises(InputError, match="the split 'unseen' has"):
        build(MiniatureRecipe(corpus_pairs=50, unseen_images=100_000), tmp_path)
    (process,) = started
    assert process._process.returncode is not None
