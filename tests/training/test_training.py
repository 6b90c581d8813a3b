import csv
import json
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tiny import SettingsFactory

from themo.checkpoints.versions import read_summary
from themo.config.settings import Settings
from themo.data.dataset import EncodedPairs, TrainingData
from themo.errors import InputError
from themo.models.student import load_student
from themo.training.loop import Report, is_better, train
from themo.training.losses import build_loss
from themo.training.validation import Validation

TIMES = ("seconds", "training_seconds", "pairs_per_second")
Metrics = dict[str, float]


class Stop(Exception):  # noqa: N818 -- no error
    """Raised by a caller to stop, like a search or Ctrl-C."""


def run(
    settings: Settings,
    data: TrainingData,
    folder: Path | None = None,
    *,
    stop_after: int | None = None,
    resume: Path | None = None,
) -> list[Metrics]:
    """Train, save at every report, stop after some; the metrics reported in this call."""
    reports: list[Metrics] = []

    def report(last: Report) -> None:
        if folder is not None:
            last.save(folder)
        reports.append(last.metrics)
        if len(reports) == stop_after:
            raise Stop

    try:
        train(settings, data, report=report, resume=resume)
    except Stop:
        assert stop_after is not None
    return reports


def timeless(reports: list[Metrics]) -> list[Metrics]:
    return [{name: value for name, value in report.items() if name not in TIMES} for report in reports]


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(encoding="utf-8", newline="") as file:
        return [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)]


def weights(folder: Path) -> dict[str, bytes]:
    names = ("student/model.safetensors", "student/head.safetensors", "checkpoint/state.safetensors")
    return {name: (folder / name).read_bytes() for name in names}


@pytest.mark.parametrize(
    ("loss", "precision"),
    [
        ("mse", "float32"),
        ("cosine", "float32"),
        ("infonce", "float32"),
        ("cosine+0.1*infonce", "bfloat16"),
    ],
)
def test_losses_fall_and_sentences_are_distinguished(
    settings: SettingsFactory, tiny_data: TrainingData, loss: str, precision: str
) -> None:
    reports = run(settings(loss=loss, epochs=12.0, precision=precision, report_pairs=1000), tiny_data)
    assert reports[-1]["train/loss"] < 0.5 * reports[0]["train/loss"]
    assert reports[-1]["val/loss"] < 0.7 * reports[0]["val/loss"]
    assert reports[-1]["val/match@01"] > max(0.3, reports[0]["val/match@01"])


def test_reports_count_pairs_steps_and_epochs(settings: SettingsFactory, tiny_data: TrainingData) -> None:
    n = len(tiny_data.train)
    last: list[Report] = []
    steps: list[int] = []
    train(
        settings(batch_size=50, epochs=2.5, report_pairs=n // 2, schedule="constant", learn_rate=1e-3),
        tiny_data,
        report=last.append,
        on_step=lambda pairs, _loss: steps.append(pairs),
    )
    metrics = [report.metrics for report in last]
    steps_an_epoch = math.ceil(n / 50)
    assert metrics[-1]["step"] == len(steps) == round(2.5 * steps_an_epoch)
    assert metrics[-1]["pairs_seen"] == sum(steps)
    assert metrics[-1]["epoch"] == pytest.approx(2.5, abs=1 / steps_an_epoch)
    assert sum(steps[:steps_an_epoch]) == n
    assert [report.is_last for report in last] == [False] * (len(last) - 1) + [True]
    # a report as soon as each further half epoch has been seen, and at the end
    assert [int(m["pairs_seen"]) // (n // 2) for m in metrics[:-1]] == list(range(1, len(metrics)))
    for m in metrics:
        assert m["learn_rate"] == 1e-3
        assert m["train/loss"] == m["train/cosine"]
        assert m["pairs_per_second"] > 0
    for seconds in ("seconds", "training_seconds"):
        assert [m[seconds] for m in metrics] == sorted(m[seconds] for m in metrics)
    # not those of validation
    assert all(0 < m["training_seconds"] < m["seconds"] for m in metrics)


def test_training_seconds_are_those_of_the_steps_alone(
    settings: SettingsFactory, tiny_data: TrainingData, tmp_path: Path
) -> None:
    last: list[Report] = []

    def report(each: Report) -> None:
        last.append(each)
        if len(last) == 2:
            each.save(tmp_path / "version")
        time.sleep(0.1)  # as writing does, or a wait for a full disk

    chosen = settings(epochs=2.0, report_pairs=len(tiny_data.train) // 3)
    train(chosen, tiny_data, report=report)
    whole = [each.metrics for each in last]
    assert whole[-1]["seconds"] - whole[-1]["training_seconds"] > 0.1 * (len(whole) - 1)
    del last[:]
    train(chosen, tiny_data, report=report, resume=tmp_path / "version")
    assert last[0].metrics["training_seconds"] > whole[1]["training_seconds"]


def test_train_losses_are_means_over_pairs_since_the_last_report(
    settings: SettingsFactory, tiny_data: TrainingData
) -> None:
    n = len(tiny_data.train)
    steps: list[tuple[int, float]] = []
    reports: list[tuple[float, int]] = []

    def report(last: Report) -> None:
        reports.append((last.metrics["train/loss"], len(steps)))

    train(
        settings(batch_size=48, report_pairs=n, epochs=5.0),  # the last batch of an epoch is smaller
        tiny_data,
        report=report,
        on_step=lambda pairs, loss: steps.append((pairs, loss)),
    )
    start = 0
    for mean, end in reports:
        pairs, losses = zip(*steps[start:end], strict=True)
        assert mean == pytest.approx(np.average(losses, weights=pairs), rel=1e-6)
        start = end
    assert len(reports) == 5


def test_equal_seeds_give_equal_runs(settings: SettingsFactory, tiny_data: TrainingData) -> None:
    first, second, other = (timeless(run(settings(seed=seed, dropout=0.1), tiny_data)) for seed in (3, 3, 4))
    assert first == second
    assert first != other


def test_more_reports_do_not_change_the_training(settings: SettingsFactory, tiny_data: TrainingData) -> None:
    few, many = (run(settings(report_pairs=n, dropout=0.1), tiny_data)[-1] for n in (10**6, 50))
    for name in ("val/loss", "val/cosine", "val/match@01", "step", "pairs_seen"):
        assert few[name] == many[name]


cuts = st.fixed_dictionaries(
    {
        "optimizer": st.sampled_from(["adam", "adamw"]),
        "schedule": st.sampled_from(["constant", "linear", "cosine"]),
        "warmup_steps": st.sampled_from([0, 7, 100]),
        "dropout": st.sampled_from([0.0, 0.2]),
        "loss": st.sampled_from(["mse", "cosine+0.1*infonce"]),
        "objective": st.sampled_from(["val/match@01", "val/loss"]),
        "learn_rate": st.sampled_from([1e-3, 2e-2]),  # with the greater one, the best report is not the last
        "patience": st.sampled_from([None, 2]),
        "accumulate": st.sampled_from([1, 3]),
        "batch_size": st.sampled_from([32, 47]),
        "last_layer_norm": st.booleans(),
        "projection_bias": st.booleans(),
    }
)


@pytest.mark.parametrize("max_examples", [3, pytest.param(40, marks=pytest.mark.slow)])
def test_a_run_cut_anywhere_ends_bit_equal(
    settings: SettingsFactory,
    tiny_data: TrainingData,
    tmp_path_factory: pytest.TempPathFactory,
    max_examples: int,
) -> None:
    @hypothesis_settings(max_examples=max_examples)
    @given(cuts, st.data())
    def check(leaves: dict[str, Any], data: st.DataObject) -> None:
        check_a_cut(settings, tiny_data, tmp_path_factory.mktemp("runs"), leaves, data)

    check()


def check_a_cut(
    settings: SettingsFactory,
    tiny_data: TrainingData,
    folder: Path,
    leaves: dict[str, Any],
    data: st.DataObject,
) -> None:
    config = settings(**leaves, report_pairs=120, epochs=2.0)
    whole = run(config, tiny_data, folder / "whole")
    if len(whole) == 1:
        return
    cut = data.draw(st.integers(1, len(whole) - 1))
    run(config, tiny_data, folder / "cut", stop_after=cut)
    torch.manual_seed(99)  # what else happened in the process must not matter
    rest = run(config, tiny_data, folder / "cut", resume=folder / "cut")
    assert timeless(rest) == timeless(whole)[cut:]
    assert table(folder / "cut") == table(folder / "whole")
    assert weights(folder / "cut") == weights(folder / "whole")


def test_a_run_cut_at_every_report(
    settings: SettingsFactory, tiny_data: TrainingData, tmp_path: Path
) -> None:
    config = settings(dropout=0.2, report_pairs=250)
    whole = run(config, tiny_data, tmp_path / "whole")
    reports = run(config, tiny_data, tmp_path / "cut", stop_after=1)
    while len(reports) < len(whole):
        reports += run(config, tiny_data, tmp_path / "cut", stop_after=1, resume=tmp_path / "cut")
    assert timeless(reports) == timeless(whole)
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")


def test_the_kept_student_is_that_of_the_best_report(
    settings: SettingsFactory, tiny_data: TrainingData, tmp_path: Path
) -> None:
    # which runs end worse than they were differs with the arithmetic of the processor: the first that does
    for seed in range(10):
        config = settings(learn_rate=0.1, schedule="constant", objective="val/loss", epochs=5.0, seed=seed)
        reports = run(config, tiny_data, tmp_path / str(seed))
        losses = [report["val/loss"] for report in reports]
        if min(losses) < losses[-1]:
            break
    assert min(losses) < losses[-1]  # or this test shows nothing
    assert reports[-1]["best/val/loss"] == min(losses)
    student, _ = load_student(tmp_path / str(seed) / "student")
    validate = Validation(tiny_data, 16, torch.device("cpu"))
    measured = validate(student, build_loss(config.loss.loss, 0.05), torch.float32)
    best = reports[losses.index(min(losses))]
    assert measured == {name: best[name] for name in measured}


@pytest.mark.parametrize("objective", ["val/match@01", "val/cosine", "val/loss"])
def test_best_so_far(settings: SettingsFactory, tiny_data: TrainingData, objective: Any) -> None:
    last: list[Report] = []
    config = settings(learn_rate=0.03, schedule="constant", epochs=4.0, objective=objective)
    train(config, tiny_data, report=last.append)
    best: Metrics = {}
    for report in last:
        measured = {name: v for name, v in report.metrics.items() if name.startswith("val/")}
        assert report.is_best == is_better(measured, best, objective)
        best = measured if report.is_best else best
        assert {name: report.metrics[f"best/{name}"] for name in measured} == best


def test_equal_objectives_are_decided_by_the_cosine() -> None:
    best = {"val/match@01": 0.5, "val/cosine": 0.7, "val/loss": 1.0}
    assert is_better(best | {"val/cosine": 0.8}, best, "val/match@01")
    assert not is_better(best, best, "val/match@01")
    assert not is_better(best | {"val/match@01": 0.4, "val/cosine": 0.9}, best, "val/match@01")
    assert is_better(best | {"val/loss": 0.9, "val/cosine": 0.1}, best, "val/loss")
    assert is_better(best, {}, "val/loss")


def test_patience(settings: SettingsFactory, tiny_data: TrainingData, tmp_path: Path) -> None:
    config = settings(
        learn_rate=0.05, schedule="constant", objective="val/loss", epochs=30.0, patience=2, report_pairs=300
    )
    reports = run(config, tiny_data, tmp_path)
    losses = [report["val/loss"] for report in reports]
    assert len(reports) < 30 * len(tiny_data.train) // 300
    best = losses.index(min(losses))
    assert len(losses) - 1 - best == 2
    for i in range(1, best):  # never two in a row without improvement before
        assert min(losses[i : i + 2]) < min(losses[:i])
    assert read_summary(tmp_path)["state"] == "stopped early"


def test_a_finished_run_is_not_resumed(
    settings: SettingsFactory, tiny_data: TrainingData, tmp_path: Path
) -> None:
    config = settings()
    run(config, tiny_data, tmp_path)
    before = weights(tmp_path)
    with pytest.raises(InputError, match=r"is finished, 22 of 22 steps are done"):
        train(config, tiny_data, report=lambda _: None, resume=tmp_path)
    assert weights(tmp_path) == before


def test_a_run_that_stopped_early_is_not_resumed(
    settings: SettingsFactory, tiny_data: TrainingData, tmp_path: Path
) -> None:
    config = settings(learn_rate=0.05, schedule="constant", objective="val/loss", epochs=30.0, patience=1)
    run(config, tiny_data, tmp_path)
    with pytest.raises(InputError, match=r"is finished, it stopped early at step \d+"):
        train(config, tiny_data, report=lambda _: None, resume=tmp_path)


def test_a_run_is_not_resumed_with_other_pairs(
    settings: SettingsFactory, tiny_data: TrainingData, tmp_path: Path
) -> None:
    run(settings(), tiny_data, tmp_path, stop_after=1)
    other = replace(tiny_data, corpus="corpus-of-others")
    with pytest.raises(
        InputError, match=r"^\S+: was started with other sentence pairs: a corpus has changed"
    ):
        train(settings(), other, report=lambda _: None, resume=tmp_path)
    assert run(settings(), replace(tiny_data, corpus=None), resume=tmp_path), "nothing tells"


def test_a_run_is_not_resumed_with_other_teacher_vectors(
    settings: SettingsFactory, tiny_data: TrainingData, tmp_path: Path
) -> None:
    run(settings(), tiny_data, tmp_path, stop_after=1)
    other = replace(tiny_data, targets="targets-of-others")
    with pytest.raises(InputError, match=r"^\S+: was started with other teacher vectors: the teacher or"):
        train(settings(), other, report=lambda _: None, resume=tmp_path)
    assert run(settings(), tiny_data, resume=tmp_path)


def test_a_checkpoint_that_names_no_vectors_is_resumed(
    settings: SettingsFactory, tiny_data: TrainingData, tmp_path: Path
) -> None:
    """Of an older version."""
    run(settings(), tiny_data, tmp_path, stop_after=1)
    file = tmp_path / "checkpoint" / "progress.json"
    progress = json.loads(file.read_text())
    del progress["targets"]
    file.write_text(json.dumps(progress))
    assert run(settings(), tiny_data, resume=tmp_path)


def test_a_checkpoint_of_other_settings(
    settings: SettingsFactory, tiny_data: TrainingData, tmp_path: Path
) -> None:
    run(settings(), tiny_data, tmp_path, stop_after=1)
    for leaves in ({"projection_bias": True}, {"hidden_size": 48}, {"hidden_layers": 2}):
        with pytest.raises(InputError) as caught:
            train(settings(**leaves), tiny_data, report=lambda _: None, resume=tmp_path)
        assert str(caught.value).startswith(f"{tmp_path}: the checkpoint does not match the settings: ")
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("report_pairs", [10, 10**6])
@pytest.mark.parametrize("clip_norm", [None, 1.0])
@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_a_diverged_run_fails_and_reports_finite_values_only(
    settings: SettingsFactory,
    tiny_data: TrainingData,
    report_pairs: int,
    clip_norm: float | None,
    optimizer: str,
) -> None:
    reports: list[Metrics] = []
    config = settings(
        learn_rate=1e30,
        schedule="constant",
        loss="mse",
        report_pairs=report_pairs,
        clip_norm=clip_norm,
        optimizer=optimizer,
    )
    with pytest.raises(FloatingPointError, match=r" at step [12] \(learn_rate=1\.0e\+30\)$"):
        train(config, tiny_data, report=lambda last: reports.append(last.metrics))
    assert all(math.isfinite(value) for report in reports for value in report.values())


def test_targets_of_nothing_but_one_vector(
    settings: SettingsFactory, tiny_data: TrainingData, tmp_path: Path
) -> None:
    np.save(tmp_path / "vectors.npy", np.ones((400, 4), dtype=np.float16))
    flat = [
        EncodedPairs(part.folder, tmp_path / "vectors.npy")
        for part in (tiny_data.train, tiny_data.validation)
    ]
    with pytest.raises(InputError, match="at least 2 different vectors"):
        train(settings(), TrainingData(flat[0], flat[1], tiny_data.backbone), report=lambda _: None)


def test_a_caller_may_stop_by_raising(settings: SettingsFactory, tiny_data: TrainingData) -> None:
    with pytest.raises(Stop):
        train(settings(), tiny_data, report=lambda _: (_ for _ in ()).throw(Stop()))


def test_pretrained_backbone(settings: SettingsFactory, tiny_data: TrainingData) -> None:
    config = settings(backbone_weights=True, learn_rate=1e-12, report_pairs=10**6)
    first, second = (run(config.override({"seed": seed}), tiny_data)[-1] for seed in (0, 1))
    assert first["val/loss"] != second["val/loss"]  # the projection is random
    assert timeless([first]) == timeless([run(config, tiny_data)[-1]])


def test_a_batch_larger_than_the_corpus(settings: SettingsFactory, tiny_data: TrainingData) -> None:
    n_pairs = len(tiny_data.train)
    with pytest.raises(InputError, match=rf"must be at most the {n_pairs} training pairs, got 1,000,000$"):
        train(settings(batch_size=1_000_000), tiny_data, report=lambda _: None)


def test_a_batch_above_the_weighted_corpus_is_refused(
    settings: SettingsFactory, tiny_data: TrainingData
) -> None:
    nothing = replace(tiny_data, parts=((len(tiny_data.train), 0.001),))
    with pytest.raises(InputError, match=r"must be at most the 0 training pairs, got 1$"):
        train(settings(batch_size=1), nothing, report=lambda _: None)
