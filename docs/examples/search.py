"""Themo's own search: checkpoints, early stopping, MLflow, a report, a winner that is tested."""

import themo

space = {"learn_rate": {"log_uniform": [1e-4, 1e-2]}, "batch_size": {"choice": [64, 128]}}
result = themo.tune(preset="miniature", space=space, num_samples=2, searcher="random", epochs=0.5)

print(result)
print(result.best.settings, result.best.score, result.best.version)
for trial in result.trials:
    print(trial.number, trial.settings, trial.score, trial.state)
