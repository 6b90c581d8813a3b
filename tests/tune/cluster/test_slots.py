from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from themo.errors import InputError
from tune.cluster import slots as module
from tune.cluster.resources import Resources
from tune.cluster.slots import Slots, count_slots

MACHINES = [{"CPU": 8.0, "GPU": 2.0}, {"CPU": 4.0}]


@pytest.mark.parametrize(
    ("resources", "slots"),
    [
        (Resources(), 2),  # a GPU each, where there are any
        (Resources(gpus_per_trial=0), 12),
        (Resources(cpus_per_trial=3, gpus_per_trial=0), 3),
        (Resources(cpus_per_trial=0.5, gpus_per_trial=0, max_concurrent=7), 7),
        (Resources(gpus_per_trial=0.25), 8),
        (Resources(cpus_per_trial=0.1, gpus_per_trial=0.1), 20),
        (Resources(cpus_per_trial=6, gpus_per_trial=1), 1),
        (Resources(gpus_per_trial=2), 1),
        (Resources(cpus_per_trial=8, gpus_per_trial=2), 1),
    ],
)
def test_slots_fit_the_cluster(resources, slots):
    assert count_slots(resources, MACHINES) == slots


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        ({"gpus_per_trial": 3}, r"--gpus-per-trial must be at most 2, the GPUs of the cluster's .*, got 3"),
        ({"gpus_per_trial": 1.5}, r"--gpus-per-trial must be a whole number above 1, got 1.5"),
        (
            {"gpus_per_trial": 2, "cpus_per_trial": 17},
            r"--cpus-per-trial must be at most 16, for 2 GPUs 2 times what .* largest machine has, got 17",
        ),
        ({"cpus_per_trial": 9}, r"--cpus-per-trial must be at most 8, .*got 9"),
        ({"cpus_per_trial": 0}, r"--cpus-per-trial must be above 0, got 0"),
        ({"gpus_per_trial": -1}, r"--gpus-per-trial must be at least 0, got -1"),
        ({"max_concurrent": 0}, r"--max-concurrent must be at least 1, got 0"),
    ],
)
def test_impossible_resources_are_refused(resources, message):
    with pytest.raises(InputError, match=message):
        count_slots(Resources(**resources), MACHINES)


@pytest.mark.parametrize(
    ("gpus", "share", "slots"),
    [(2.0, 0.6, 2), (4.0, 0.4, 8), (4.0, 0.3, 12), (1.0, 0.1, 10), (3.0, 1 / 3, 9), (3.0, 1.0, 3)],
)
def test_a_part_of_a_gpu_is_of_one_alone(gpus, share, slots):
    assert count_slots(Resources(gpus_per_trial=share), [{"CPU": 99.0, "GPU": gpus}]) == slots


def test_a_trial_on_several_gpus_may_span_machines():
    machines = [{"CPU": 2.0, "GPU": 1.0}] * 2 + [{"CPU": 4.0, "GPU": 3.0}]
    assert count_slots(Resources(gpus_per_trial=2), machines) == 2
    assert count_slots(Resources(gpus_per_trial=5), machines) == 1
    assert count_slots(Resources(cpus_per_trial=4, gpus_per_trial=2), machines) == 2
    assert Resources(cpus_per_trial=4, gpus_per_trial=2).of_worker == {"CPU": 2, "GPU": 1}
    with pytest.raises(InputError, match=r"2 times some machine of the cluster must have both, got 3 CPUs"):
        count_slots(Resources(cpus_per_trial=6, gpus_per_trial=2), [*machines[:2], {"CPU": 4.0, "GPU": 1.0}])


def test_no_machine_with_both_is_refused():
    with pytest.raises(
        InputError, match=r"some machine of the cluster must have both, got 6 CPUs and 1 GPUs"
    ):
        count_slots(Resources(6, 1), [{"CPU": 8.0}, {"CPU": 2.0, "GPU": 2.0}])


def test_without_gpus_a_trial_gets_none_by_default():
    machines = [{"CPU": 4.0}]
    assert Resources().on(machines).gpus_per_trial == 0
    assert count_slots(Resources(), machines) == 4
    assert Resources(gpus_per_trial=1).on(machines).gpus_per_trial == 1


class GrowingCluster:
    """The part of a cluster that `Slots` needs."""

    dashboard = None

    def __init__(self, *machines: dict[str, float]) -> None:
        self.there = list(machines)

    def machines(self) -> dict[str, dict[str, float]]:
        return dict(enumerate(self.there))  # type: ignore[arg-type]


def test_slots_are_counted_again_as_machines_come_and_go(monkeypatch, capsys):
    cluster = GrowingCluster({"CPU": 2.0})
    slots = Slots(Resources(max_concurrent=9), cluster)  # type: ignore[arg-type]
    assert slots() == slots.most == 2
    cluster.there.append({"CPU": 4.0})
    assert slots() == 2, "it asks the cluster every few seconds only"
    monkeypatch.setattr(module, "_SECONDS_BETWEEN_COUNTS", 0.0)
    assert slots() == slots.most == 6
    cluster.there.append({"CPU": 8.0})
    assert slots() == 9
    cluster.there.clear()
    assert slots() == slots() == 1, "a trial waits for a machine that can hold it"
    assert slots.most == 9
    cluster.there.append({"CPU": 1.0})
    assert slots() == 1
    assert capsys.readouterr().err.splitlines() == [
        "Warning: the cluster has no machine for a trial now (1 CPUs, 0 GPUs): the search waits for one",
        "The cluster has room for trials again",
    ]


def test_a_cluster_whose_machines_come_back_is_waited_for(monkeypatch, capsys):
    cluster = GrowingCluster({})
    back = [{"CPU": 4.0}, {"CPU": 4.0, "GPU": 3.0}]
    clock = SimpleNamespace(monotonic=time.monotonic, sleep=lambda _: cluster.there.append(back.pop(0)))
    monkeypatch.setattr(module, "time", clock)
    slots = Slots(Resources(gpus_per_trial=1), cluster, wait=600.0)  # type: ignore[arg-type]
    assert slots() == slots.most == 3
    assert back == []
    assert capsys.readouterr().err.splitlines() == [
        "Warning: the cluster has no machine for a trial now (1 CPUs, 1 GPUs): the search waits for one",
        "The cluster has room for trials again",
    ]


def test_machines_that_stay_away_are_refused_at_the_deadline(monkeypatch, capsys):
    moments = iter([0.0, 0.0, 0.0, 30.0, 30.0, 61.0, 61.0])
    monkeypatch.setattr(
        module, "time", SimpleNamespace(monotonic=lambda: next(moments), sleep=lambda _: None)
    )
    with pytest.raises(InputError, match=r"^--gpus-per-trial must be at most 0"):
        Slots(Resources(gpus_per_trial=2), GrowingCluster({"CPU": 4.0}), wait=60.0)  # type: ignore[arg-type]
    assert capsys.readouterr().err.count("the search waits for one") == 1
    assert next(moments, None) is None


def test_a_trial_gets_a_gpu_from_when_there_are_any(monkeypatch):
    monkeypatch.setattr(module, "_SECONDS_BETWEEN_COUNTS", 0.0)
    cluster = GrowingCluster({"CPU": 2.0})
    slots = Slots(Resources(), cluster)  # type: ignore[arg-type]
    assert (slots.share(), slots()) == (0.0, 2)
    cluster.there.append({"CPU": 4.0, "GPU": 3.0})
    assert (slots.share(), slots()) == (1.0, 3)
    cluster.there.pop()
    assert (slots.share(), slots()) == (1.0, 1), "it is waited for: the search goes on with GPUs"
    without = Slots(Resources(gpus_per_trial=0.0), GrowingCluster({"CPU": 2.0, "GPU": 1.0}))  # type: ignore[arg-type]
    assert without.share() == 0.0
