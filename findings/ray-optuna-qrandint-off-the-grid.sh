#!/usr/bin/env bash
# Ray 2.60.0, Optuna 5.0.0: with OptunaSearch, `tune.qrandint(20, 100, 16)` gives numbers that are no multiples of 16.
#
# Expected: the documentation of qrandint says that the value "will be a multiple of `q`", and that spaces converted for
#   a searcher keep to the bounds stated there. Ray's own generator gives 32, 48, 64, 80, 96.
# Behaviour: OptunaSearch counts steps of 16 from the lower bound: 20, 36, 52, 68, 84, 100. No value is a multiple of
#   16, and nothing is logged. The same `param_space` is another space with and without the searcher, and a width that
#   must be a multiple of 16 is not. `quniform`, for floats, raises an error if a bound is no multiple of `q`; qrandint
#   does not.
# Output seen:
#   Ray's own generator: [32, 48, 64, 80, 96]
#   OptunaSearch: [20, 36, 52, 68, 84, 100]
#
# Exits 0 while the behaviour is as described, 1 once it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "ray[tune]==2.60.0" optuna==5.0.0
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import sys

import optuna
from ray import tune
from ray.tune.search.optuna import OptunaSearch

optuna.logging.set_verbosity(optuna.logging.WARNING)
Q = 16
width = tune.qrandint(20, 100, Q)

own = sorted({width.sample() for _ in range(500)})
searcher = OptunaSearch(sampler=optuna.samplers.RandomSampler(seed=0))
searcher.set_search_properties("loss", "min", {"width": width})  # as `Tuner.fit` does with its `param_space`
proposed = sorted({searcher.suggest(str(number))["width"] for number in range(200)})
print(f"Ray's own generator: {own}")
print(f"OptunaSearch: {proposed}")
if any(value % Q for value in own) or not all(value % Q for value in proposed):
    sys.exit("changed: Ray's generator and OptunaSearch no longer differ as described")
PY
