"""What the options of `tune` make of a search; what they are refused for: test_tune_command.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from formula_search import a_search

from themo.cli import parse
from themo.config import load
from tune.request import begin, resume
from tune.resources import Resources
from tune.search import Search


@pytest.fixture
def known(tmp_path: Path) -> Search:
    return a_search(tmp_path / "logs", "old", Resources(gpus_per_trial=1.0, by_memory=True, max_concurrent=3))


def asked(known: Search, *words: str) -> Search:
    options = parse(["tune", *words, "--logs-dir", known.settings.paths.logs_dir])
    settings = load(overrides=options.settings)
    return (begin if options.resume is None else resume)(options, settings)


def test_a_repeated_search_is_the_old_one_under_another_name(known: Search) -> None:
    again = asked(known, "--repeat", "old", "--name", "new")
    assert (again.space, again.settings, again.resources) == (known.space, known.settings, known.resources)
    assert again.name == "new"
    assert again.uid != known.uid


def test_a_search_that_shared_gpus_may_be_repeated_on_cpus(known: Search) -> None:
    resources = asked(known, "--repeat", "old", "--name", "new", "--device", "cpu").resources
    assert resources == Resources(gpus_per_trial=0.0, by_memory=False, max_concurrent=3)


@pytest.mark.parametrize(
    ("words", "threads"),
    [
        ([], 1),
        (["--cpus-per-trial", "4"], 4),
        (["--cpus-per-trial", "4", "--threads", "1"], 1),
        (["--cpus-per-trial", "4", "--threads", "2"], 2),
        (["--cpus-per-trial", "4", "--gpus-per-trial", "2"], 2),
    ],
)
def test_a_repeated_search_trains_with_its_own_share_of_cpus(
    known: Search, words: list[str], threads: int
) -> None:
    again = asked(known, "--repeat", "old", "--name", "new", *words)
    assert again.settings.training.threads == threads


def test_threads_that_were_no_share_are_repeated(known: Search) -> None:
    asked(known, "--repeat", "old", "--name", "odd", "--threads", "3")
    again = asked(known, "--repeat", "odd", "--name", "new", "--cpus-per-trial", "4")
    assert again.settings.training.threads == 3


@pytest.mark.parametrize(
    ("share", "gpus", "by_memory"), [("auto", 1.0, True), ("0.5", 0.5, False), ("2", 2.0, False)]
)
def test_the_share_of_a_gpu_that_is_asked_for(
    known: Search, share: str, gpus: float, by_memory: bool
) -> None:
    resources = asked(known, "--repeat", "old", "--name", "new", "--gpus-per-trial", share).resources
    assert (resources.gpus_per_trial, resources.by_memory) == (gpus, by_memory)


def test_a_resumed_search_may_be_moved_and_grown(known: Search) -> None:
    more = asked(known, "--resume", "old", "--num-samples", "20", "--max-concurrent", "2")
    assert more.space.search.num_samples == 20
    assert more.resources == Resources(gpus_per_trial=1.0, by_memory=True, max_concurrent=2)
    assert more.uid == known.uid
