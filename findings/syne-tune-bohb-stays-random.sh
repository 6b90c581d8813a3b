#!/usr/bin/env bash
# Syne Tune 0.16.0: TPE and BOHB propose at random for many more trials than their documentation states.
#
# Expected: `num_min_data_points` is the "minimum number of data points that we use to fit the KDEs. As long as less
#   observations have been received, randomly drawn configurations are returned"; the default is the number of
#   settings. So with 4 settings proposals come from the model, except for a third, once 4 trials are known.
# Behaviour: the number of good trials is max(num_min_data_points, 15 % of all). The model needs more good trials than
#   settings, and with the default these are equal. Every proposal is therefore random until 15 % of all trials exceed
#   the number of settings: until the 34th trial with 4 settings, and the 94th with 13. Nothing is logged. If
#   num_min_data_points is the number of settings plus one, the model starts at twice that number of trials.
# Output seen:
#   4 settings, default: first fit with 34 trials
#   4 settings, num_min_data_points=5: first fit with 10 trials
#   13 settings, default: first fit with 94 trials
#   13 settings, num_min_data_points=14: first fit with 28 trials
#
# Exits 0 while the behaviour is as described, 1 once it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet syne-tune==0.16.0
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import random
import sys
from datetime import datetime

from syne_tune.backend.trial_status import Trial
from syne_tune.config_space import uniform
from syne_tune.optimizer.baselines import TPE


def first_fit(n_settings: int, **options: int) -> int | None:
    """Completed trials when the density of good trials is fitted for the first time."""
    space = {f"x{i}": uniform(0, 1) for i in range(n_settings)}
    scheduler = TPE(space, metric="loss", random_seed=0, **options)
    for number in range(200):
        trial = Trial(number, scheduler.suggest().config, datetime.now())
        if scheduler.searcher.good_kde is not None:
            return number
        scheduler.on_trial_add(trial)
        scheduler.on_trial_complete(trial, {"loss": random.random()})
    return None


found = []
for n_settings in (4, 13):
    found.append((first_fit(n_settings), first_fit(n_settings, num_min_data_points=n_settings + 1)))
    print(f"{n_settings} settings, default: first fit with {found[-1][0]} trials")
    print(f"{n_settings} settings, num_min_data_points={n_settings + 1}: first fit with {found[-1][1]} trials")
sys.exit(not all(default > 2 * more for default, more in found))
PY
