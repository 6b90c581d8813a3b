#!/usr/bin/env bash
# Syne Tune 0.16.0: MOASHA stops the trial that is best in all objectives as often as the second worst.
#
# Expected: asynchronous successive halving for several objectives continues the best third of a rung by its
#   non-dominated sort. A trial that is better than all others in every objective is the first of that sort.
# Behaviour: the default `NonDominatedPriority` must return a priority for each trial, "lower elements are picked
#   first". It returns the result of `nondominated_sort`: the numbers of the trials in sorted order. MOASHA reads the
#   last entry as the priority of the newest trial, but it is the number of the trial that was sorted last. So the newest
#   trial continues if the worst trial came early, unless it is the worst itself. `LinearScalarizationPriority` is right.
# Output seen (1,000 rungs with nine earlier trials each, seed 0):
#   NonDominatedPriority: continues 0.440 of the best of ten, 0.440 of the last but one
#   LinearScalarizationPriority: continues 1.000 of the best of ten, 0.000 of the last but one
#
# Exits 0 while the behaviour is as described, 1 once it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet syne-tune==0.16.0
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import sys
from datetime import datetime

import numpy as np
from syne_tune.backend.trial_status import Trial
from syne_tune.config_space import uniform
from syne_tune.optimizer.schedulers.multiobjective.moasha import MOASHA
from syne_tune.optimizer.schedulers.multiobjective.multiobjective_priority import (
    LinearScalarizationPriority,
    MOPriority,
    NonDominatedPriority,
)

N_RUNGS = 1000


def decision(priority: MOPriority, losses: np.ndarray) -> str:
    """Of the last of several trials, whose losses have the shape (trials, 2), at the first rung."""
    scheduler = MOASHA(
        {"x": uniform(0, 1)},
        metrics=["first", "second"],
        time_attr="epoch",
        multiobjective_priority=priority,
        max_t=9,
        grace_period=1,
        reduction_factor=3,
    )
    for number, (first, second) in enumerate(losses):
        trial = Trial(trial_id=number, config={"x": 0.5}, creation_time=datetime(2026, 1, 1))
        scheduler.on_trial_add(trial)
        last = scheduler.on_trial_result(trial, {"epoch": 1, "first": first, "second": second})
    return last


def share_continued(priority: type[MOPriority], newest: float) -> float:
    """Of newest trials with two equal losses; of the earlier ones eight have losses below 1, and one has 3."""
    random = np.random.default_rng(0)
    decisions = []
    for _ in range(N_RUNGS):
        earlier = random.permutation(np.vstack([random.uniform(size=(8, 2)), [3, 3]]))
        decisions.append(decision(priority(), np.vstack([earlier, [newest, newest]])))
    return decisions.count("CONTINUE") / N_RUNGS


BEST, LAST_BUT_ONE = -1.0, 2.0
shares = {}
for priority in (NonDominatedPriority, LinearScalarizationPriority):
    best, bad = shares[priority] = share_continued(priority, BEST), share_continued(priority, LAST_BUT_ONE)
    print(f"{priority.__name__}: continues {best:.3f} of the best of ten, {bad:.3f} of the last but one")
best, bad = shares[NonDominatedPriority]
sys.exit(not (best < 0.6 and bad > 0.3 and shares[LinearScalarizationPriority] == (1, 0)))
PY
