#!/usr/bin/env bash
# Ray 2.60.0: `get_best_result` with scope "all" forgets all reports before a NaN; with "avg" it takes no mean.
#
# Expected: scope "all" finds "each trial's min/max score" of all reports, whatever their order, and scope "avg" "the
#   simple average over all steps".
# Behaviour: Ray keeps a running maximum by `max(new, old)`. A NaN replaces it, as the first of two numbers that do not
#   compare, and the report after the NaN replaces the NaN. So the maximum is that of the reports since the last NaN:
#   with 0.9 before the NaN a trial loses against 0.7, with 0.9 after the NaN it wins. Its `metrics_dataframe` has the
#   0.9 in both cases. The running mean weighs a report by `training_iteration`. For a metric that is not in every
#   report, such as one of a validation every five epochs, it is no mean.
# Output seen:
#   scope="all", mode="max": chooses {'score': [0.6, 0.7]}; the other trial reported {'score': [0.9, nan, 0.5]}
#   scope="all", mode="max": chooses {'score': [0.5, nan, 0.9]}; the other trial reported {'score': [0.6, 0.7]}
#   scope="avg", mode="max": chooses {'val': [4, 4]}; the other trial reported {'val': [1, None, None, None, 9]}
#
# Exits 0 while the behaviour is as described, 1 once it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "ray[tune]==2.60.0"
cd "$folder"
export RAY_AIR_NEW_OUTPUT=0 RAY_USAGE_STATS_ENABLED=0 TUNE_DISABLE_AUTO_CALLBACK_LOGGERS=1
"$folder/venv/bin/python" -W ignore - <<'PY'
import math
import sys
from pathlib import Path

import ray
from ray import tune


def train(config: dict) -> None:
    ((metric, values),) = config["reports"].items()
    for epoch, value in enumerate(values):
        tune.report({"epoch": epoch} if value is None else {"epoch": epoch, metric: value})


def chosen(scope: str, better: dict, other: dict) -> dict:
    """The reports of the trial that Ray chooses."""
    (metric,) = better
    results = tune.Tuner(
        train,
        param_space={"reports": tune.grid_search([better, other])},
        run_config=tune.RunConfig(verbose=0, storage_path=str(Path.cwd() / "results")),
        tune_config=tune.TuneConfig(reuse_actors=True),
    ).fit()
    best = results.get_best_result(metric, "max", scope=scope).config["reports"]
    left = other if str(best) == str(better) else better  # as text, since NaN equals nothing
    print(f'scope="{scope}", mode="max": chooses {best}; the other trial reported {left}')
    return best


ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
before = chosen("all", {"score": [0.9, math.nan, 0.5]}, {"score": [0.6, 0.7]})
after = chosen("all", {"score": [0.5, math.nan, 0.9]}, {"score": [0.6, 0.7]})
of_mean = chosen("avg", {"val": [1, None, None, None, 9]}, {"val": [4, 4]})
ray.shutdown()
if before["score"] != [0.6, 0.7] or after["score"] == [0.6, 0.7] or of_mean["val"] != [4, 4]:
    sys.exit("changed: Ray no longer chooses as described")
PY
