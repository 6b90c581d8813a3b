"""The next run of a confirmation, and its verdict: functions of the record.

The runs come in rounds: a round trains the winner and each rival that is not decided yet with one more seed.
Decisions are made between rounds, so they do not depend on the number of slots or on the order of the ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from tune.confirmation.paired_test import COVERAGE, Lead, lead_after
from tune.confirmation.plan import plan
from tune.study.confirmation import SEED, Confirmation
from tune.study.limits import are_trials_done
from tune.study.search import Search
from tune.study.study import Study
from tune.study.trial_record import Mode, Trial, loss_of

Role = Literal["trusted start", "runner-up"]
Outcome = Literal["proven", "not separated", "worse", "open"]


@dataclass(frozen=True)
class Comparison:
    """Comparison of the winner with one rival.

    Attributes:
        rival: Number of the rival.
        role: Whether the rival has the trusted settings or is the runner-up.
        lead: The winner's lead, above 0 where the winner is better, in the objective's unit.
        failure: Reason why the comparison ended without a result; else empty.
        is_claimed: Whether the winner is proven better: its interval lies above 0, and so do those of the
            comparisons before. Claims in a fixed order need no correction for their number (Glimm, Maurer and
            Bretz, 2010, https://doi.org/10.1002/sim.3748).
    """

    rival: int
    role: Role
    lead: Lead
    failure: str
    is_claimed: bool

    @property
    def is_open(self) -> bool:
        """Whether further seeds can change the comparison."""
        return not self.failure and not self.lead.is_separated


@dataclass(frozen=True)
class Verdict:
    """Result of a confirmation so far.

    Attributes:
        winner: Number of the trial that won the search by its score.
        comparisons: Comparisons, in the order of the claims.
        is_over: Whether no run is left.
        pairs: Sentence pairs of the runs.
        n_runs: Number of ended runs.
        n_most: Largest number of runs.
    """

    winner: int
    comparisons: tuple[Comparison, ...]
    is_over: bool
    pairs: int
    n_runs: int
    n_most: int

    @property
    def outcome(self) -> Outcome:
        """The outcome: of the first rival (the trusted start, if any), unless a rival is proven better."""
        first = self.comparisons[0]
        if not self.is_over:
            return "open"
        if any(comparison.lead.is_below_chance for comparison in self.comparisons):
            return "worse"
        return "proven" if first.is_claimed else "not separated"

    @property
    def handed_over(self) -> int:
        """Number of the trial whose student the search hands over: the winner, or a rival proven better.

        A rival with a higher mean alone does not replace the winner, whose student exists and scored best.
        """
        better = [c for c in self.comparisons if c.lead.is_below_chance]
        least = min(better, key=lambda c: c.lead.mean or 0.0, default=None)
        return self.winner if least is None or not self.is_over else least.rival

    def lines(self) -> list[str]:
        """The verdict as text, one line per comparison."""
        lines = [self.line(comparison) for comparison in self.comparisons]
        if not self.is_over:
            lines.append(f"Confirmation: {self.n_runs} of at most {self.n_most} runs are done")
        elif self.handed_over != self.winner:
            lines.append(f"The search returns trial {self.handed_over} instead of trial {self.winner}")
        return lines

    def line(self, comparison: Comparison) -> str:
        """A comparison in one line."""
        rival, lead = f"the {comparison.role}, trial {comparison.rival}", comparison.lead
        who, how_much = f"Trial {self.winner}", lead_in_words(lead)
        if comparison.failure:
            return f"{who} is not compared with {rival}: {comparison.failure}"
        if comparison.is_claimed:
            return f"{who} is better than {rival}: lead {how_much}"
        if lead.is_below_chance:
            return f"{who} is worse than {rival}: lead {how_much}"
        if lead.is_above_chance:
            return (
                f"The lead of trial {self.winner} over {rival} counts only if the previous lead is separated "
                f"from chance: {how_much}"
            )
        if not self.is_over and comparison.is_open:
            return f"{who} beside {rival}: lead {how_much} so far"
        return f"The lead of trial {self.winner} over {rival} is not separated from chance: {how_much}"

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object for ``tune --json`` and ``status --json``."""
        return {
            "outcome": self.outcome,
            "winner": self.winner,
            "handed_over": self.handed_over,
            "coverage": COVERAGE,
            "comparisons": [
                {
                    "rival": c.rival,
                    "role": c.role,
                    "lead": c.lead.mean,
                    "interval": None if c.lead.low is None else [c.lead.low, c.lead.high],
                    "n_seeds": c.lead.n_seeds,
                    "is_better": c.is_claimed,
                    **({"failure": c.failure} if c.failure else {}),
                }
                for c in self.comparisons
            ],
            "pairs": self.pairs,
            "runs": self.n_runs,
        }


def lead_in_words(lead: Lead) -> str:
    """A lead as text, such as ``+0.0032 (90 % interval +0.0008 to +0.0056, 4 seeds)``."""
    if lead.mean is None:
        return "unknown (no further seed yet)"
    seeds = f"{lead.n_seeds} seed{'s' if lead.n_seeds != 1 else ''}"
    if lead.low is None or lead.high is None:
        return f"{lead.mean:+.4f} ({seeds}, too few for an interval)"
    return f"{lead.mean:+.4f} ({COVERAGE:.0%} interval {lead.low:+.4f} to {lead.high:+.4f}, {seeds})".replace(
        "%", " %"
    )


def verdict(study: Study) -> Verdict | None:
    """The verdict of a record; None without a plan, or if another trial has won since."""
    chosen, winner = study.confirmation, study.scored_winner()
    if chosen is None or winner is None or winner.number != chosen.winner:
        return None
    runs = _Runs(study, chosen)
    comparisons, has_claimed = [], True
    for rival in chosen.rivals:
        lead = runs.lead(rival, len(chosen.seeds))
        failure = "" if lead.is_separated else runs.failure(rival)  # later runs serve other rivals
        has_claimed = has_claimed and lead.is_above_chance
        role: Role = "trusted start" if rival == chosen.trusted else "runner-up"
        comparisons.append(Comparison(rival, role, lead, failure, has_claimed))
    return Verdict(
        winner=chosen.winner,
        comparisons=tuple(comparisons),
        is_over=next_run(study) is None and all(run.is_done for run in study.runs),
        pairs=sum(run.pairs_seen for run in study.runs),
        n_runs=study.runs.n_done,
        n_most=len(chosen.seeds) * len(chosen.finalists),
    )


def is_finished(study: Study, search: Search) -> bool:
    """Whether all trials of a search are done, and all runs that confirm its winner."""
    if not are_trials_done(study, search.space):
        return False
    chosen = plan(study, search.space, search.settings)
    if not isinstance(chosen, Confirmation):
        return True
    found = verdict(study)
    return chosen is study.confirmation and found is not None and found.is_over


def next_run(study: Study) -> tuple[int, int] | None:
    """The next run to start, as its trial's number and its seed; None while a round trains, or at the end."""
    chosen = study.confirmation
    if chosen is None:
        return None
    runs = _Runs(study, chosen)
    for n_before, seed in enumerate(chosen.seeds):
        open_ = [rival for rival in chosen.rivals if runs.is_open(rival, n_before)]
        if not open_:
            return None
        for number in (chosen.winner, *open_):
            if (number, seed) not in runs.known:
                return number, seed
        if not all(runs.known[number, seed].is_done for number in (chosen.winner, *open_)):
            return None
    return None


class _Runs:
    """The runs of a confirmation, by trial and seed."""

    def __init__(self, study: Study, plan: Confirmation) -> None:
        self._plan = plan
        self._mode: Mode = study.mode
        self.known: dict[tuple[int | None, Any], Trial] = {
            (run.confirms, run.params[SEED]): run for run in study.runs
        }

    def _score(self, number: int, seed: int) -> float | None:
        """Best score of a complete run, negated if the objective is minimized; None without one."""
        run = self.known.get((number, seed))
        value = None if run is None or run.state != "COMPLETE" else run.best(self._mode)
        return None if value is None else -loss_of(value, self._mode)

    def lead(self, rival: int, n_rounds: int) -> Lead:
        """The winner's lead over a rival after some rounds."""
        pairs: list[tuple[float, float]] = []
        for seed in self._plan.seeds[:n_rounds]:
            ours, theirs = self._score(self._plan.winner, seed), self._score(rival, seed)
            if ours is None or theirs is None:
                break
            pairs.append((ours, theirs))
        return lead_after([a for a, _ in pairs], [b for _, b in pairs], len(self._plan.seeds))

    def failure(self, rival: int, n_rounds: int | None = None) -> str:
        """The first failed run of the winner or a rival, in one line; empty if none failed."""
        for seed in self._plan.seeds[:n_rounds]:
            for number in (self._plan.winner, rival):
                run = self.known.get((number, seed))
                if run is not None and run.state == "FAIL":
                    return f"trial {number} failed with seed {seed}: {run.reason or 'unknown reason'}"
        return ""

    def is_open(self, rival: int, n_rounds: int) -> bool:
        """Whether a comparison needs another seed after some rounds."""
        return not self.failure(rival, n_rounds) and not self.lead(rival, n_rounds).is_separated
