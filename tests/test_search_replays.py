"""Replays of our search and of each installed peer on a small table with a known best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import pytest

from benchmarks.early_stopping import best_of
from benchmarks.early_stopping import search as given_settings
from benchmarks.ending import Recorded, end, tally
from benchmarks.ending_rules import RULES, SHIPPED
from benchmarks.search_efficiency import without_first
from benchmarks.searches.comparison import TABLES
from benchmarks.searches.curves import Curve, read
from benchmarks.searches.ours import Ours
from benchmarks.searches.peers import PEERS, Peer, PeerMissingError
from benchmarks.searches.peers.facts import Facts
from benchmarks.searches.replay import Job, Method, Oracle, Replay, replay
from themo.config import settings as config
from tune.space.dimensions import Choice, FloatRange, IntRange, Scalar
from tune.space.search_settings import SearchSettings
from tune.space.search_space import Space

pytestmark = pytest.mark.filterwarnings("ignore")  # deprecations within the libraries
EPOCH = 16_000
SLOW = ("ray-optuna-asha", "ray-bohb", "syne-tune-ashacqr", "neps-priorband", "smac-multi-fidelity")
"""Ray, NePS and SMAC3 take seconds to import; two of the methods fit a model for each proposal."""
FREEZE_THAW = "ours: freeze-thaw"
ALL = [
    "ours",
    FREEZE_THAW,
    *(pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in PEERS),
]
LOSSES, SCHEDULES = ("mse", "cosine", "infonce"), ("constant", "linear", "cosine")
FINITE = {
    "batch_size": IntRange(16, 128, step=16),
    "loss": Choice(LOSSES),
    "schedule": Choice(SCHEDULES),
}
BAR = 0.87
"""Reached by six settings of 72: the two largest batches with InfoNCE."""
RATES = {"learn_rate": FloatRange(1e-4, 1e-2, log=True), "dropout": FloatRange(0.0, 0.5)}


def quality(params: dict[str, Scalar]) -> float:
    """Score at the end: 0.9 with the largest batch, InfoNCE and a rate of 1e-3, with any schedule."""
    score = {"mse": 0.4, "cosine": 0.6, "infonce": 0.7}[str(params["loss"])]
    rate, dropout = float(params.get("learn_rate") or 1e-3), float(params.get("dropout") or 0)
    return score + int(params["batch_size"] or 0) / 640 - 0.1 * abs(math.log10(rate) + 3) - 0.1 * dropout


def diverges(params: dict[str, Scalar]) -> bool:
    return params["loss"] == "mse" and int(params["batch_size"] or 0) <= 64


def curve(number: int, params: dict[str, Scalar]) -> Curve:
    """Six reports; small batches with MSE diverge after two of them."""
    size = int(params["batch_size"] or 0)
    pairs = [*(math.ceil(8_000 * i / size) * size for i in range(1, 6)), 3 * EPOCH]
    values = [quality(params) * (1 - 0.5**i) / (1 - 0.5**6) for i in range(1, 7)]
    seconds = [float(size * i) for i in range(1, 7)]
    n, reason = (2, "diverged") if diverges(params) else (6, "")
    return Curve(number, 0, params, tuple(pairs[:n]), tuple(values[:n]), tuple(seconds[:n]), reason)


def oracle_of(
    dimensions: dict[str, Choice | FloatRange | IntRange], settings: Sequence[dict[str, Scalar]]
) -> Oracle:
    space = Space(dimensions, search=SearchSettings(num_samples=200, grace_pairs=8_000, startup_trials=4))
    return Oracle(config.load(), space, [curve(i, params) for i, params in enumerate(settings)], EPOCH)


@pytest.fixture(scope="module")
def finite() -> Oracle:
    rows = product(range(16, 129, 16), LOSSES, SCHEDULES)
    return oracle_of(FINITE, [dict(zip(FINITE, row, strict=True)) for row in rows])


@pytest.fixture(scope="module")
def endless() -> Oracle:
    rows = product([16, 64, 128], LOSSES, ["constant"], [1e-4, 4e-4, 1e-3, 4e-3, 1e-2], [0.0, 0.5])
    searched = FINITE | RATES
    return oracle_of(searched, [dict(zip(searched, row, strict=True)) for row in rows])


class Watched(Method):
    """A method whose replay is checked at every call."""

    def __init__(self, method: Method) -> None:
        self.method = method
        self.running: set[int] = set()
        self.pairs: dict[int, int] = {}
        self.params: dict[int, dict[str, Scalar]] = {}
        self.calls: list[tuple[object, ...]] = []
        self.n_failed = 0

    def ask(self) -> Job | None:
        job = self.method.ask()
        if job is not None:
            assert job.trial not in self.running, "a running trial starts again"
            assert job.after == self.pairs.get(job.trial, 0), "a trial continues where it stopped"
            assert self.params.setdefault(job.trial, job.params) == job.params
            self.running.add(job.trial)
            self.calls.append((job.trial, *job.params.values(), job.after))
        return job

    def report(self, trial: int, pairs: int, value: float, *, is_last: bool) -> bool:
        assert trial in self.running, "a report after a stop"
        assert pairs > self.pairs.get(trial, 0)
        self.pairs[trial] = pairs
        continues = self.method.report(trial, pairs, value, is_last=is_last)
        self.calls.append((trial, pairs, value, continues))
        if is_last or not continues:
            self.running.discard(trial)
        return continues

    def fail(self, trial: int) -> None:
        self.running.discard(trial)
        self.n_failed += 1
        self.method.fail(trial)


def method_of(name: str, oracle: Oracle, slots: int, seed: int = 0) -> Watched:
    if name == "ours":
        return Watched(Ours(oracle.space.searched_by(seed=seed)))
    if name == FREEZE_THAW:
        changes = {"searcher": "forecast", "scheduler": "freeze-thaw", "grace_share": 8_000 / oracle.whole}
        return Watched(Ours(oracle.space.searched_by(seed=seed, **changes).for_trials(oracle.whole)))
    if (missing := PEERS[name].missing()) is not None:
        pytest.skip(missing)
    return Watched(PEERS[name](oracle.space, seed, Facts.of(oracle, slots)))


def replay_of(
    method: Method, oracle: Oracle, slots: int, n_trainings: float = 5, bar: float = math.inf
) -> Replay:
    return replay(method, oracle, slots=slots, budget=n_trainings * oracle.whole, bar=bar)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in SLOW else ())
        for name, peer in PEERS.items()
        if peer.module in ("optuna_methods", "ray_methods")
    ],
)
def test_no_seed_of_a_peer_repeats_the_recorded_settings(name: str) -> None:
    table = read(TABLES / "miniature.parquet")[:10]
    space = without_first(config.load())
    recorded = [space.active(one.params) for one in table]
    oracle = Oracle(config.load(), space, table, 3 * EPOCH)
    for seed in range(10):
        job = method_of(name, oracle, 1, seed).ask()
        assert job is not None
        assert space.active(job.params) not in recorded


def test_given_settings_are_trained_in_their_order(finite: Oracle) -> None:
    chosen = [one for one in finite.firsts if one.is_whole][:6]
    whole = given_settings(finite, chosen, "none")
    assert whole.pairs[-1] == sum(one.pairs[-1] for one in chosen)
    assert (whole.n_trials, whole.bests[-1]) == (6, best_of(chosen))
    assert whole.winner == max(range(6), key=lambda i: chosen[i].best)
    best_first = sorted(chosen, key=lambda one: -one.best)
    stopped = given_settings(finite, best_first, "asha")
    assert (stopped.winner, stopped.bests[-1]) == (0, whole.bests[-1])
    assert stopped.pairs[-1] < whole.pairs[-1]


@pytest.mark.parametrize("slots", [1, 4])
@pytest.mark.parametrize("name", ALL)
def test_each_method_reaches_the_known_bar(name: str, slots: int, finite: Oracle) -> None:
    method = method_of(name, finite, slots)
    replayed = replay_of(method, finite, slots, n_trainings=40, bar=BAR)
    assert replayed.winner is not None
    winner = method.params[replayed.winner]
    assert winner["loss"] == "infonce"
    assert winner["batch_size"] in (112, 128)


@pytest.mark.parametrize("name", ALL)
def test_the_same_seed_gives_the_same_replay(name: str, endless: Oracle) -> None:
    first, again, other = (method_of(name, endless, 4, seed) for seed in (3, 3, 4))
    replays = [replay_of(method, endless, 4) for method in (first, again, other)]
    assert replays[0] == replays[1]
    assert first.calls == again.calls
    assert first.calls != other.calls


@pytest.mark.parametrize("name", ALL)
def test_methods_run_side_by_side_as_alone(name: str, endless: Oracle) -> None:
    alone = method_of(name, endless, 1)
    replay_of(alone, endless, 1, 2)
    beside, other = method_of(name, endless, 1), method_of(name, endless, 1, seed=7)
    replay_of(other, endless, 1, 2)
    replay_of(beside, endless, 1, 2)
    assert beside.calls == alone.calls


@pytest.mark.parametrize("name", ALL)
def test_a_diverging_trial_fails_and_the_others_continue(name: str, finite: Oracle) -> None:
    method = method_of(name, finite, 2)
    replayed = replay_of(method, finite, 2, n_trainings=8)
    n_bad = sum(diverges(params) for params in method.params.values())
    assert method.n_failed <= n_bad < len(method.params) == replayed.n_trials


def test_a_missing_package_is_named_in_one_line(finite: Oracle) -> None:
    peer = Peer("that", "smac_methods", "multi_fidelity", {"no-such-package": "no_such_package"})
    with pytest.raises(
        PeerMissingError, match=r"^that: package no-such-package is not installed: make [a-z-]+$"
    ):
        peer(finite.space, 0, Facts.of(finite))


@pytest.mark.parametrize("searcher", ["random", "tpe"])
@pytest.mark.parametrize("gain", [0.005, 0.05])
def test_an_end_is_that_of_a_search_with_the_limit(endless: Oracle, searcher: str, gain: float) -> None:
    changes = {"searcher": searcher, "scheduler": "asha", "num_samples": 20}
    space = endless.space.searched_by(**changes).for_trials(3 * EPOCH)
    whole = Recorded(space)
    replay(whole, endless, budget=math.inf)
    limited = Ours(space.searched_by(stop_gain=gain, stop_chance=0.3))
    replayed = replay(limited, endless, budget=math.inf)
    found = end(whole, RULES[SHIPPED], gain, 0.3)
    assert found is not None
    total = sum(trial.pairs_seen for trial in whole.study)
    best = max(max(trial.values.values(), default=0.0) for trial in whole.study if trial.is_scored)
    assert found.saved == pytest.approx(1 - replayed.pairs[-1] / total) != 0
    assert found.gain == pytest.approx(best - max(limited.study.leader().values.values()))
    counted = tally("case", [whole, whole], RULES[SHIPPED], gain, 0.3)
    assert (counted.n_gained, counted.n_ended, counted.n) == (2 * (found.gain > gain), 2, 2)


@pytest.mark.parametrize("name", list(RULES))
def test_rules_of_an_end_give_chances(name: str) -> None:
    rule = RULES[name]
    losses = [-math.sin(i) for i in range(30)]
    for n_known in (1, 2, 9, 30):
        known = losses[:n_known]
        chances = [rule(known, n_left, 0.01, is_learning=True) for n_left in (1, 5, 50)]
        assert 0 <= chances[0] < chances[1] < chances[2] <= 1
        assert rule(known, 5, 1.0, is_learning=True) <= chances[1]
