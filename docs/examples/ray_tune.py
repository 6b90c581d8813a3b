"""A Ray Tune experiment around `themo.train`."""

from pathlib import Path
from typing import Any

from ray import tune

import themo

base: dict[str, Any] = {"epochs": 0.5, "cache_dir": Path("data/cache").resolve()}
themo.prepare(preset="miniature", **base)  # once: the workers read it from the cache


def trial(params: dict[str, Any]) -> None:
    themo.train(preset="miniature", report=lambda now: tune.report(dict(now.metrics)), **base, **params)


space = {"learn_rate": tune.loguniform(1e-4, 1e-2)}
results = tune.Tuner(trial, param_space=space, tune_config=tune.TuneConfig(num_samples=2)).fit()
print(results.get_best_result("val/match@01", "max").config)
