"""Several processes of torch.distributed on this machine's CPU, as Ray Train connects them for a trial."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from test_optimization import SmallMemory, updater
from test_training import run, timeless, weights
from tiny import SettingsFactory

from themo.config.sections import TrainingSettings
from themo.config.settings import Settings
from themo.data.batches import assemble
from themo.data.dataset import TrainingData
from themo.training.distributed import Group, PeerLostError, _reach
from themo.training.loop import build_student, train
from themo.training.losses import build_loss, is_contrastive
from themo.training.optimization import Updater

LOSSES = ("mse", "cosine", "infonce", "cosine+0.1*infonce")


def in_processes(size: int, folder: Path, work: Callable[..., None], *arguments: object) -> None:
    """Run `work` in connected processes; what one raises is raised here."""
    meeting = folder / f"meeting-{work.__name__}-{size}"
    torch.multiprocessing.spawn(_connected, (size, str(meeting), work, arguments), nprocs=size)


def _connected(
    rank: int, size: int, meeting: str, work: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{meeting}",
        rank=rank,
        world_size=size,
        timeout=timedelta(days=14),  # as a trial's: a process that goes is missed without it
    )
    try:
        work(*arguments)
    finally:
        dist.destroy_process_group()


def test_each_step_and_rank_draws_its_own() -> None:
    seeds = set()
    for rank in (0, 1):
        for step in (0, 1):
            Group(rank, 2).seed(7, step)
            seeds.add(torch.initial_seed())
    assert len(seeds) == 4


def test_a_rank_without_a_pair_owns_zeros() -> None:
    assert torch.equal(Group(2, 3).own(torch.ones(2, 4), 2), torch.zeros(1, 4))


def check_gradients(settings: Settings, data: TrainingData) -> None:
    """For random batches: after a plain update the weights are those after an update by one process."""
    group = Group.current()
    draw = random.Random(group.size)
    for _ in range(25):
        loss = draw.choice(LOSSES)
        n_pairs = draw.choice([1, 2, 3, draw.randint(4, 40)])
        chosen = np.array(draw.sample(range(len(data.train)), n_pairs))
        config = TrainingSettings(accumulate=draw.choice([1, 1, 2, 5]), clip_norm=draw.choice([None, 0.1]))
        fits = draw.choice([1, 3, 100])
        case = f"{loss}, {n_pairs} pairs, {config.accumulate} parts, memory for {fits} pairs"

        torch.manual_seed(0)
        student = build_student(settings, data).train()
        optimizer = torch.optim.SGD(student.parameters(), lr=1.0)
        alone = updater(student, optimizer, loss, config)(assemble(data.train, chosen, 16), 1.0)
        expected = torch.cat([p.detach().flatten() for p in student.parameters()])

        torch.manual_seed(0)
        student = build_student(settings, data).train()
        update = Updater(
            SmallMemory(student, fits),  # type: ignore[arg-type]
            torch.optim.SGD(student.parameters(), lr=1.0),
            build_loss(loss, 0.1),
            torch.float32,
            contrastive=is_contrastive(loss),
            clip_norm=config.clip_norm,
            parts=config.accumulate,
            group=group,
        )
        share = assemble(data.train, group.share(chosen), 16)
        told = update(share, 1.0, n_pairs)
        together = torch.cat([p.detach().flatten() for p in student.parameters()])

        torch.testing.assert_close(
            together, expected, rtol=1e-4, atol=1e-6, msg=lambda m, c=case: f"{c}: {m}"
        )
        torch.testing.assert_close(told, alone, msg=lambda m, c=case: f"{c}: {m}")
        everyones = [torch.empty_like(together) for _ in range(group.size)]
        dist.all_gather(everyones, together)
        assert all(torch.equal(each, together) for each in everyones), case


def check_shares() -> None:
    group = Group.current()
    for n_pairs in (1, 2, 5, 6):
        chosen = np.arange(10, 10 + n_pairs)
        own = group.share(chosen)
        assert len(own) == max(1, group.count(n_pairs))
        values = torch.from_numpy(own)[:, None].float()
        everyones = group.gather(values, n_pairs)
        assert sorted(everyones[:, 0].int().tolist()) == chosen.tolist()
        back = group.own(everyones, n_pairs)
        assert torch.equal(back, values if group.count(n_pairs) else torch.zeros_like(values))
    assert group.from_first(lambda: {"rank": dist.get_rank()}) == {"rank": 0}
    drawn = []
    for step in (0, 1, 0):
        group.seed(7, step)
        drawn.append(torch.rand(4))
    assert torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], drawn[1])
    everyones_draws = [torch.empty(4) for _ in range(group.size)]
    dist.all_gather(everyones_draws, drawn[0])
    assert not torch.equal(everyones_draws[0], everyones_draws[1])


def check_runs(settings: Settings, data: TrainingData, folder: Path) -> None:
    """Complete runs: only rank 0 reports; training resumes from its checkpoint bit for bit."""
    group = Group.current()
    for loss in ("mse", "infonce"):
        reports = run(settings.override({"loss": loss}), data, folder / loss)
        assert bool(reports) == group.is_first
    run(settings.override({"loss": "infonce", "nested_widths": [4]}), data, folder / "nested")
    noisy = settings.override({"dropout": 0.2})
    whole = run(noisy, data, folder / "whole")
    if group.is_first:
        expected = weights(folder / "whole")
    cut = run(noisy.override({"epochs": 1.0}), data)  # some other run between
    dist.barrier()
    torch.manual_seed(99 + group.rank)
    rest = run(noisy, data, folder / "cut", resume=_first_report(noisy, data, folder / "cut", group))
    if group.is_first:
        assert cut
        assert timeless(rest) == timeless(whole)[1:]
        assert weights(folder / "cut") == expected


def _first_report(settings: Settings, data: TrainingData, folder: Path, group: Group) -> Path:
    """A version directory as it stood after the first report, kept aside for all processes."""
    kept = folder.with_name(f"{folder.name}-first")
    if group.is_first:

        def keep(report: Any) -> None:
            if not kept.exists():
                report.save(kept)

        train(settings, data, report=keep)
    else:
        train(settings, data, report=lambda _: None)
    dist.barrier()
    return kept


def check_two(settings: Settings, data: TrainingData, folder: Path) -> None:
    check_shares()
    check_gradients(settings, data)
    check_runs(settings, data, folder)


def check_three(settings: Settings, data: TrainingData) -> None:
    check_shares()
    check_gradients(settings, data)


def check_that_a_loss_is_told(folder: Path) -> None:
    """The second process ends; the first raises an error that says so."""
    group = Group.current()
    if not group.is_first:
        return

    def work_on() -> None:
        while True:
            group.gather(torch.ones(1, 1), 2)

    with pytest.raises(PeerLostError, match="another process of the trial has ended"):
        work_on()
    (folder / "told").touch()


def test_a_lack_of_memory_is_no_loss_of_a_process() -> None:
    def collective(reason: str) -> None:
        raise RuntimeError(f"NCCL error: {reason}")

    with pytest.raises(RuntimeError, match="out of memory") as caught:
        _reach(lambda: collective("Cuda failure 'out of memory'"))
    assert not isinstance(caught.value, PeerLostError)
    with pytest.raises(PeerLostError, match="ended: NCCL error: connection closed"):
        _reach(lambda: collective("connection closed"))


@pytest.mark.slow
def test_two_processes_train_as_one(
    settings: SettingsFactory, tiny_data: TrainingData, tmp_path: Path
) -> None:
    config = settings(report_pairs=150)
    in_processes(2, tmp_path, check_two, config, tiny_data, tmp_path)
    runs = {"mse": {"loss": "mse"}, "infonce": {"loss": "infonce"}}
    for name, leaves in (runs | {"nested": {"loss": "infonce", "nested_widths": [4]}}).items():
        alone = run(config.override(leaves), tiny_data, tmp_path / "alone" / name)
        table = (tmp_path / name / "metrics.csv").read_text().splitlines()
        names = table[0].split(",")
        together = [dict(zip(names, map(float, line.split(",")), strict=True)) for line in table[1:]]
        assert len(together) == len(alone) > 3
        for one, other in zip(timeless(alone), timeless(together), strict=True):
            assert other == pytest.approx(one, abs=1e-5, rel=1e-5)


@pytest.mark.slow
def test_three_processes_have_the_gradient_of_one(
    settings: SettingsFactory, tiny_data: TrainingData, tmp_path: Path
) -> None:
    in_processes(3, tmp_path, check_three, settings(), tiny_data)


@pytest.mark.slow
def test_a_process_that_goes_is_missed(tmp_path: Path) -> None:
    in_processes(2, tmp_path, check_that_a_loss_is_told, tmp_path)
    assert (tmp_path / "told").exists()


def test_a_process_alone_is_a_group_of_one() -> None:
    group = Group.current()
    chosen = np.arange(5)
    assert (group.rank, group.size, group.is_first) == (0, 1, True)
    assert group.share(chosen).tolist() == chosen.tolist()
    before = torch.get_rng_state()
    group.seed(1, 2)
    assert torch.equal(torch.get_rng_state(), before)
    assert group.from_first(lambda: 3) == 3
