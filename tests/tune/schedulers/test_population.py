from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulation import PAIRS, facts, play, play_with_kills

from themo.training.loop import train
from tune.results.report.facts import lanes
from tune.schedulers.population import PopulationBased, explore
from tune.schedulers.rungs import Interval
from tune.space.dimensions import contains
from tune.space.search_settings import CHANGEABLE
from tune.space.search_space import Space, from_tree
from tune.study.study import Study
from tune.study.trial_record import Takeover
from tune.study.work_time import sessions

N_TRIALS, N_REPORTS = 8, 6


@pytest.fixture(scope="session")
def space(settings) -> Space:
    tree = {
        "space": {
            "learn_rate": {"log_uniform": [1e-5, 1e-2]},
            "temperature": {"uniform": [0.01, 1.0]},
            "batch_size": {"integer": [32, 256]},
        },
        "search": {"scheduler": "pbt", "num_samples": N_TRIALS, "grace_pairs": 2 * PAIRS, "seed": 1},
    }
    return from_tree(tree, settings, source="search.yaml")


def by_number(trial, step):
    return trial.number + step / 10


def rule(space: Space) -> PopulationBased:
    return PopulationBased(Interval(space.search.grace_pairs), N_TRIALS, space.search.seed)


def test_the_worst_quarter_takes_over_the_best(space):
    study = play(space, Study(None, "max"), by_number, N_REPORTS)
    assert study.counts()["COMPLETE"] == N_TRIALS
    assert [bool(trial.lineage) for trial in study] == [True] * 2 + [False] * 6
    for trial in study.trials[:2]:
        first, second = trial.lineage
        assert first.donor in (6, 7)
        assert (first.pairs, first.value) == (200, trial.number + 0.2)
        assert (second.pairs, second.value) == (400, trial.number + 0.4)
        # until there its reports are the donor's, then its own
        donor = study[second.donor]
        assert all(trial.values[pairs] == donor.values[pairs] for pairs in (100, 200, 300, 400))
        assert [trial.values[pairs] for pairs in (500, 600)] == [trial.number + 0.5, trial.number + 0.6]


def test_changeable_settings_of_the_donor_are_multiplied(space):
    def curve(trial, step):  # after the first round all are equal
        return float(trial.number if step < 3 else 0)

    study = play(space, Study(None, "max"), curve, N_REPORTS)
    for trial in study.trials[:2]:
        donor = study[trial.lineage[0].donor]
        assert trial.params["batch_size"] == donor.params["batch_size"]
        for name in ("learn_rate", "temperature"):
            value, limit = donor.params[name], space.dimensions[name]
            allowed = [min(max(value * factor, limit.low), limit.high) for factor in (0.8, 1.2)]
            assert trial.params[name] in allowed
            assert trial.params[name] != trial.lineage[0].params[name]


@given(st.integers(0, 1000), st.floats(1e-5, 1e-2), st.floats(0.01, 1.0))
def test_changed_settings_lie_in_the_space(space, seed, learn_rate, temperature):
    import numpy as np

    params = {"learn_rate": learn_rate, "temperature": temperature, "batch_size": 64}
    changed = explore(space, params, np.random.default_rng(seed))
    assert all(contains(space.dimensions[name], value) for name, value in changed.items())


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(0, 5), max_size=60), st.integers(2, 5))
def test_neither_slots_nor_the_order_of_arrival_change_anything(space, order, slots):
    alone = play(space, Study(None, "max"), by_number, N_REPORTS)
    together = play(space, Study(None, "max"), by_number, N_REPORTS, slots=slots, choices=order)
    assert facts(together) == facts(alone)
    assert [trial.lineage for trial in together] == [trial.lineage for trial in alone]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 5), max_size=60), st.integers(2, 5))
def test_a_non_finite_round_report_ends_its_trial_in_any_order(space, order, slots):
    def with_holes(trial, step):
        return math.nan if (trial.number, step) in {(7, 2), (6, 1), (5, 4)} else by_number(trial, step)

    alone = play(space, Study(None, "max"), with_holes, N_REPORTS)
    assert [(trial.state, trial.pairs_seen) for trial in alone][5:] == [
        ("PRUNED", 400),
        ("COMPLETE", 600),
        ("PRUNED", 200),
    ]
    together = play(space, Study(None, "max"), with_holes, N_REPORTS, slots=slots, choices=order)
    assert facts(together) == facts(alone)


@pytest.mark.parametrize("slots", [1, 2, 3])
def test_a_population_has_the_lanes_of_its_slots(space, slots):
    study = play(space, Study(None, "max"), by_number, N_REPORTS, slots=slots)
    assert len(lanes(study)) == slots
    assert {len(trial.stints) for trial in study} == {3}  # one a round


def test_a_resumed_search_has_a_new_session(space, tmp_path):
    study = play_with_kills(space, tmp_path / "study.json", by_number, [9, 1000], N_REPORTS)
    assert set(sessions(study)) == {1, 2}
    assert [stint.session for stint in study[0].stints] == [1, 2, 2]


def after_a_round(n_trials: int) -> Study:
    """Trials that wait at the end of the first round, the best first."""
    study = Study(None, "max")
    for number in range(n_trials):
        study.add({"learn_rate": 1e-3, "temperature": 0.1, "batch_size": 32})
        study.report(number, {"pairs_seen": 200, "o": float(-number)}, "o")
        study[number].checkpoint = f"{number}"
        study.finish(number, "PAUSED")
    return study


def test_takeovers_run_first_while_the_checkpoints_exist(space):
    study = after_a_round(N_TRIALS)
    assert rule(space).next_paused(study) == 6
    assert rule(space).donor(study, 6) in (0, 1)
    assert rule(space).donor(study, 5) is None
    study[3].state = "RUNNING"  # it has ended the round and gone on
    assert rule(space).next_paused(study) == 6
    study[3].metrics["pairs_seen"] = 100.0  # it has not
    assert rule(space).next_paused(study) is None


def test_a_real_checkpoint_resumes_with_changed_settings(tiny_settings, tiny_data, tmp_path):
    """Nothing in a checkpoint holds the old learning rate, decay or temperature."""
    old = {"learn_rate": 1e-3, "weight_decay": 0.1, "temperature": 0.1, "loss": "infonce", "epochs": 2.0}
    new = old | {"learn_rate": 2e-3, "weight_decay": 0.0, "temperature": 0.5}
    assert {name for name in old if old[name] != new[name]} == set(CHANGEABLE)

    def run(params, resume=None):
        reports = []

        def report(last):
            reports.append(last.metrics)
            if resume is None:
                last.save(tmp_path / "version")
                raise InterruptedError

        with suppress(InterruptedError):
            settings = tiny_settings.override(params | {"schedule": "constant", "warmup_steps": 0})
            train(settings, tiny_data, report=report, resume=resume)
        return reports

    (first,) = run(old)
    rests = {
        name: run(old | {name: new[name]} if name else old, tmp_path / "version")
        for name in ("", *CHANGEABLE)
    }
    assert first["learn_rate"] == 1e-3
    assert {report["learn_rate"] for report in rests["learn_rate"]} == {2e-3}
    losses = {name: rest[-1]["train/loss"] for name, rest in rests.items()}
    assert len(set(losses.values())) == 4
    assert len({rest[-1]["step"] for rest in rests.values()}) == 1


def test_no_round_ends_before_all_trials_have_begun(space):
    assert rule(space).next_paused(after_a_round(N_TRIALS - 1)) is None


def test_another_seed_draws_other_donors(space):
    study = after_a_round(N_TRIALS)
    drawn = {replace(rule(space), seed=seed).donor(study, 6) for seed in range(20)}
    assert drawn == {0, 1}


def test_trials_of_one_round_change_apart(space):
    """A draw that all trials share would multiply a setting by the same factor in each."""
    large = space.searched_by(num_samples=40)
    study = play(large, Study(None, "max"), by_number, n_reports=3)
    changes = {
        trial.params["learn_rate"] / study[trial.lineage[0].donor].params["learn_rate"]
        for trial in study
        if trial.lineage
    }
    assert {round(change, 6) for change in changes} >= {0.8, 1.2}


def test_trusted_settings_join_the_population(space):
    trusted = {"learn_rate": 1e-3, "temperature": 0.1, "batch_size": 64}
    study = play(replace(space, first=(trusted,)), Study(None, "max"), by_number, N_REPORTS)
    assert study[0].lineage[0].params == trusted
    assert study[0].params != trusted


def test_equal_trials_keep_their_own_way(space):
    study = play(space, Study(None, "max"), lambda *_: 0.5, N_REPORTS)
    assert not any(trial.lineage for trial in study)


def test_the_record_keeps_the_lineage(space, tmp_path):
    study = play(space, Study(tmp_path / "study.json", "max"), by_number, N_REPORTS)
    assert Study.reopen(tmp_path / "study.json").trials == study.trials
    trial = replace(study[0], lineage=[Takeover(200, 0.1, {}, 7), Takeover(4000, 0.2, {}, 6)])
    assert trial.lineage_in_words == "as trial 7 from 200 pairs, as trial 6 from 4,000 pairs"


def test_a_takeover_has_the_donors_active_settings(settings):
    """A trial that takes over another loss gets its temperature, or loses its own."""
    tree = {
        "space": {
            "learn_rate": {"log_uniform": [1e-5, 1e-2]},
            "loss": {"choice": ["mse", "infonce"]},
            "temperature": {"uniform": [0.01, 1.0], "when": {"loss": "infonce"}},
        },
        "search": {"scheduler": "pbt", "num_samples": N_TRIALS, "grace_pairs": 2 * PAIRS, "seed": 1},
    }
    conditional = from_tree(tree, settings, source="search.yaml")
    changes = set()
    for curve in (by_number, lambda trial, step: -trial.number + step / 10):
        study = play(conditional, Study(None, "max"), curve, N_REPORTS)
        for trial in study:
            assert conditional.is_complete(trial.params)
            assert conditional.active(trial.params) == trial.params
            changes |= {(step.params["loss"], trial.params["loss"]) for step in trial.lineage}
    assert changes >= {("mse", "infonce"), ("infonce", "mse")}
