"""The cost of a trial's student, measured before the training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from themo.config.settings import Settings
from themo.data.dataset import TrainingData
from themo.models.cost import megabytes
from themo.training.loop import train
from tune.space.search_settings import SearchSettings
from tune.study.trial_record import Trial
from tune.worker.student_cost import student_cost
from tune.worker.trial import run_trial
from tune.worker.trial_report import TrialReport
from tune.worker.work import Work, configuration

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


def test_mb_are_exact_and_grow_with_the_student(tiny_settings: Settings, tiny_data: TrainingData) -> None:
    small, deep, wide = (
        student_cost(tiny_settings.override(size), tiny_data, "mb")
        for size in (
            {"hidden_size": 16, "hidden_layers": 1},
            {"hidden_size": 16, "hidden_layers": 2},
            {"hidden_size": 64, "hidden_layers": 1},
        )
    )
    assert small < deep < wide
    assert (
        student_cost(tiny_settings.override({"hidden_size": 16, "hidden_layers": 1}), tiny_data, "mb")
        == small
    )


def test_ms_are_measured_on_one_thread(tiny_settings: Settings, tiny_data: TrainingData) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert 0 < student_cost(tiny_settings, tiny_data, "ms") < 1000
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


def reports_of(work: Work, trial: Trial) -> tuple[list[TrialReport], list[float]]:
    """The reports of a trial, and the MB of each version that it saves."""
    sent: list[TrialReport] = []
    sizes: list[float] = []

    def send(report: TrialReport, version: Path | None) -> None:
        sent.append(report)
        if version is not None:
            sizes.append(megabytes(*(version / "student").iterdir()))

    run_trial(configuration(trial), work, None, send)
    return sent, sizes


def test_every_report_has_the_cost_of_the_version(
    tiny_settings: Settings, tiny_data: TrainingData, tmp_path: Path
) -> None:
    data = {(): tiny_data}
    search = SearchSettings(second_objective="mb", grace_pairs=100)
    work = Work(tiny_settings, search, data, (), str(tmp_path), train, measure=lambda: None)
    sent, sizes = reports_of(work, Trial(0, {"hidden_size": 32}, gpus=0.0))
    assert {report.metrics["cost/mb"] for report in sent} == set(sizes)
    assert len(sizes) >= 1


def test_a_retried_trial_keeps_its_first_measurement(
    tiny_settings: Settings, tiny_data: TrainingData, tmp_path: Path
) -> None:
    search = SearchSettings(second_objective="ms", grace_pairs=100)
    work = Work(tiny_settings, search, {(): tiny_data}, (), str(tmp_path), train, measure=lambda: None)
    trial = Trial(0, {}, gpus=0.0, metrics={"pairs_seen": 0.0, "cost/ms": 123.5})
    assert {report.metrics["cost/ms"] for report in reports_of(work, trial)[0]} == {123.5}


def test_one_objective_measures_nothing(
    tiny_settings: Settings, tiny_data: TrainingData, tmp_path: Path
) -> None:
    work = Work(
        tiny_settings,
        SearchSettings(grace_pairs=100),
        {(): tiny_data},
        (),
        str(tmp_path),
        train,
        measure=lambda: None,
    )
    sent, _ = reports_of(work, Trial(0, {}, gpus=0.0))
    assert not [name for report in sent for name in report.metrics if name.startswith("cost/")]
