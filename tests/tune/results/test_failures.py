from __future__ import annotations

import random
from pathlib import Path

from formula_search import settings_in

from tune.results.failures import failed_alike, shared_settings
from tune.space.search_space import Space, from_tree
from tune.study.study import Study


def a_space() -> Space:
    rules = {
        "learn_rate": {"log_uniform": [1e-5, 1e-2]},
        "optimizer": {"choice": ["adam", "adamw"]},
    }
    return from_tree({"space": rules}, settings_in(Path("logs")), "a space")


def study_of(*outcomes: tuple[float, str, str]) -> Study:
    """A trial an outcome: learning rate, optimizer, and the reason of its failure or nothing."""
    study = Study(None, "max")
    for rate, optimizer, reason in outcomes:
        trial = study.add({"learn_rate": rate, "optimizer": optimizer})
        if reason:
            study.finish(trial.number, "FAIL", reason)
        else:
            study.report(trial.number, {"pairs_seen": 1.0, "o": 0.5}, "o")
            study.finish(trial.number, "COMPLETE")
    return study


GOOD = [(1e-4 * (1 + i / 10), "adamw", "") for i in range(20)]
BAD = [(rate, "adam", "diverged: loss is nan") for rate in (3e-3, 5e-3, 8e-3, 9e-3)]


def test_high_rates_and_one_optimizer_separate_failures() -> None:
    study = study_of(*GOOD, *BAD, (2e-3, "adam", ""))
    failed = failed_alike(study, study[20])
    assert [trial.number for trial in failed] == [20, 21, 22, 23]
    shared = shared_settings(study, a_space(), failed)
    assert [(s.text, s.n_others) for s in shared] == [("learn_rate 0.003 or more", 0), ("optimizer adam", 1)]


def test_low_values_separate_too() -> None:
    low = [(rate, "adam", "its worker died") for rate in (1e-5, 1.2e-5, 1.3e-5)]
    study = study_of(*GOOD, *low)
    shared = shared_settings(study, a_space(), failed_alike(study, study[20]))
    assert shared[0].text == "learn_rate 1.3e-05 or less"


def test_running_trials_are_no_successes() -> None:
    study = study_of(*GOOD, *BAD)
    study.report(
        study.add({"learn_rate": 6e-3, "optimizer": "adam"}).number, {"pairs_seen": 1.0, "o": 0.5}, "o"
    )
    shared = shared_settings(study, a_space(), failed_alike(study, study[20]))
    assert [(s.text, s.n_others) for s in shared] == [("learn_rate 0.003 or more", 0), ("optimizer adam", 0)]


def test_other_kinds_of_failure_do_not_count() -> None:
    study = study_of(*GOOD, *BAD[:2], (1e-5, "adamw", "its worker died"))
    assert [trial.number for trial in failed_alike(study, study[20])] == [20, 21]
    assert [trial.number for trial in failed_alike(study, study[22])] == [22]


def test_one_failure_shares_nothing() -> None:
    study = study_of(*GOOD, BAD[0])
    assert shared_settings(study, a_space(), [study[20]]) == []


def test_without_other_trials_nothing_separates() -> None:
    study = study_of(*BAD)
    assert shared_settings(study, a_space(), study.trials) == []


def test_random_failures_share_a_setting_in_5_percent() -> None:
    draw = random.Random(0)
    n_shared = 0
    for _ in range(400):
        outcomes = [
            (rate, draw.choice(["adam", "adamw"]), reason)
            for (rate, _, _), reason in zip(
                GOOD, draw.sample(["diverged: x"] * 3 + [""] * 17, 20), strict=True
            )
        ]
        study = study_of(*outcomes)
        failed = [trial for trial in study if trial.state == "FAIL"]
        n_shared += bool(shared_settings(study, a_space(), failed))
    assert 0 < n_shared <= 0.05 * 400
