"""An Optuna study around `themo.train`: unpromising trials end early."""

import optuna

import themo

base = themo.prepare(preset="miniature")  # once for all trials


def objective(trial: optuna.Trial) -> float:
    def report(now: themo.Report) -> str | None:
        trial.report(now.metrics["val/match@01"], int(now.metrics["pairs_seen"]))
        return "stop" if trial.should_prune() else None

    rate = trial.suggest_float("learn_rate", 1e-4, 1e-2, log=True)
    return themo.train(preset="miniature", data=base, epochs=0.5, learn_rate=rate, report=report).best.score


study = optuna.create_study(direction="maximize")
study.optimize(objective, n_trials=2)
