"""How often a search that `stop_gain` ended would have gained more, and how much training it saved.

    python -m benchmarks ending

Searches on the recorded tables (`benchmarks.searches`), without trusted settings, are replayed to their last
trial. Before every new trial, a rule estimates the chance that the remaining trials gain more than an amount.
The search ends at the first estimate below a stated chance. Trials that are running then count with their
results in the full search. A rule is calibrated if, of the searches that it ended, at most a share equal to
the stated chance would have gained more than the amount. The shipped rule has a row per case; the other rules
have a row with their worst case.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from benchmarks.ending_rules import RULES, SHIPPED, Rule
from benchmarks.measure import Goal, Options, Row
from benchmarks.searches.comparison import SLOTS, TABLES
from benchmarks.searches.curves import read
from benchmarks.searches.ours import Ours
from benchmarks.searches.replay import Job, Oracle, oracle_of, replay
from themo.evaluation.intervals import wilson_interval
from themo.process.progress import track
from tune.space.search_space import Space
from tune.study.remaining_gain import known_losses

METHODS = (("random", "none"), ("random", "asha"), ("tpe", "none"), ("tpe", "asha"))
"""Searcher and scheduler; the last pair is shipped. Forecasts are missing: a replay takes a minute."""
SEEDS = {32: 100, 128: 20}
"""Number of searches by their number of trials."""
GAINS = (0.002, 0.01, 0.03)
CHANCES = (0.05, 0.2)


class Recorded(Ours):
    """A search that records the losses known before every new trial.

    Args:
        space: As of `Ours`.

    Attributes:
        known: The losses known before each trial, from `known_losses`.
    """

    def __init__(self, space: Space) -> None:
        super().__init__(space)
        self.known: list[list[float]] = []
        self.is_learning = space.search.searcher != "random"

    def ask(self) -> Job | None:
        """The next training, unchanged by the record."""
        losses, job = known_losses(self.study), super().ask()
        if len(self.study) > len(self.known):
            self.known.append(losses)
        return job


@dataclass(frozen=True)
class End:
    """The end of a search by a rule.

    Attributes:
        gain: Later gain of the full search.
        saved: Share of the full search's sentence pairs that the rule saved.
    """

    gain: float
    saved: float


@dataclass(frozen=True)
class Tally:
    """The ends of searches of one case by one rule.

    Attributes:
        name: The case, with amount and chance.
        n_gained: Number of ended searches that gained more than the amount later.
        n_ended: Number of ended searches.
        n: Number of searches.
        saved: Mean share of pairs saved, over all searches.
    """

    name: str
    n_gained: int
    n_ended: int
    n: int
    saved: float

    @property
    def share(self) -> float:
        """Share of the ended searches that gained more; 0 if none ended."""
        return self.n_gained / self.n_ended if self.n_ended else 0.0

    def row(self, name: str, chance: float, detail: str = "") -> Row:
        """The share as a row, with its 95 % interval."""
        interval = wilson_interval(self.n_gained, self.n_ended) if self.n_ended else None
        counts = f"{self.n_gained} of {self.n_ended} ended, of {self.n}; {self.saved:.1%} of the pairs saved"
        return Row(
            name,
            self.share if interval else None,
            "gained more",
            Goal(chance, "<"),
            interval,
            counts + detail,
            seeds=(0, self.n - 1),
        )


def run(options: Options) -> list[Row]:  # noqa: ARG001 -- its seeds are its own
    """Rows for each case of the shipped rule, and a row with the worst case for each other rule."""
    oracles = {path.stem: oracle_of(read(path)) for path in sorted(TABLES.glob("*.parquet"))}
    cases = list(product(oracles, SLOTS, METHODS, SEEDS))
    tallies: dict[tuple[str, float], list[Tally]] = {
        (rule, chance): [] for rule in RULES for chance in CHANCES
    }
    n_searches = sum(SEEDS[n_trials] for *_, n_trials in cases)
    with warnings.catch_warnings(), track("Replaying", n_searches, "searches") as advance:
        warnings.simplefilter("ignore")  # Optuna's experimental arguments
        for table, slots, (searcher, scheduler), n_trials in cases:
            changes = {"searcher": searcher, "scheduler": scheduler, "num_samples": n_trials}
            searches = []
            for seed in range(SEEDS[n_trials]):
                searches.append(search(oracles[table], slots, **changes, seed=seed))
                advance(1)
            at_once = f"{slots} {'slot' if slots == 1 else 'slots'}"
            name = f"{table}, {at_once}, {n_trials} trials, {searcher}, {scheduler}"
            for (rule, chance), gain in product(tallies, GAINS):
                tallies[rule, chance].append(tally(f"{name}: {gain:g}", searches, RULES[rule], gain, chance))
    return list(_rows(tallies))


def _rows(tallies: dict[tuple[str, float], list[Tally]]) -> Iterator[Row]:
    for (rule, chance), found in tallies.items():
        if rule == SHIPPED:
            yield from (one.row(f"{one.name}, chance {chance:g}", chance) for one in found)
        worst = max(found, key=lambda one: one.share)
        saved = np.mean([one.saved for one in found])
        n_above = sum(one.share > chance for one in found)
        yield worst.row(
            f"{rule}, chance {chance:g}: worst of {len(found)} cases",
            chance,
            f" ({worst.name}); {n_above} cases above the chance; over all cases {saved:.1%} saved",
        )


def search(oracle: Oracle, slots: int, **changes: object) -> Recorded:
    """A search replayed to its last trial."""
    recorded = Recorded(oracle.space.searched_by(**changes).for_trials(oracle.whole))
    replay(recorded, oracle, slots=slots, budget=math.inf)
    return recorded


def tally(name: str, searches: Sequence[Recorded], rule: Rule, gain: float, chance: float) -> Tally:
    """The ends of some searches by a rule."""
    ends = [found for one in searches if (found := end(one, rule, gain, chance)) is not None]
    n_gained = sum(found.gain > gain for found in ends)
    return Tally(name, n_gained, len(ends), len(searches), sum(found.saved for found in ends) / len(searches))


def end(searched: Recorded, rule: Rule, gain: float, chance: float) -> End | None:
    """The end of a search by a rule; None: it ran to its last trial."""
    trials, learns = searched.study.trials, searched.is_learning
    for n, losses in enumerate(searched.known):
        if losses and rule(losses, len(trials) - n, gain, is_learning=learns) < chance:
            bests = [-math.inf if not t.is_scored else max(t.values.values()) for t in trials]
            pairs = [trial.pairs_seen for trial in trials]
            return End(max(bests) - max(bests[:n]), sum(pairs[n:]) / sum(pairs))
    return None
