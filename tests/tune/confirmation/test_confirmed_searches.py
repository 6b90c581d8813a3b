"""Whole confirmations on the record: who is compared, at which cost, with which claims."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from searches import PAIRS, PRESET_RATE, SETTINGS, confirmed, end, planned, searched, space_of

from tune.cluster.resources import Resources
from tune.confirmation.paired_test import LEVEL
from tune.confirmation.plan import Unconfirmed, begin, pairs_of_search, plan
from tune.confirmation.verdict import Verdict, is_finished, next_run, verdict
from tune.study.confirmation import SEED, Confirmation
from tune.study.search import Search
from tune.study.study import Study
from tune.study.trial_record import Trial

N_SEARCHES = 300


def simulated(heights: Sequence[float], seed: int) -> tuple[Study, Verdict]:
    """A search over settings of these heights and its confirmation; noise of 1 a score, no early stopping."""
    random = np.random.default_rng(seed)
    study = searched([height + random.normal() for height in heights])
    result = confirmed(study, space_of(), lambda trial, _: heights[trial.number] + float(random.normal()))
    return study, result


def test_false_claims_in_searches_without_a_better_setting() -> None:
    claims = [
        any(c.is_claimed for c in simulated([0.0] * 48, seed)[1].comparisons) for seed in range(N_SEARCHES)
    ]
    assert np.mean(claims) <= LEVEL + 2.5 * math.sqrt(LEVEL * (1 - LEVEL) / N_SEARCHES)


def test_a_clearly_better_setting_is_usually_proven_in_a_quarter() -> None:
    found = [simulated([0.0] * 47 + [6.0], seed) for seed in range(100)]
    assert np.mean([result.outcome == "proven" for _, result in found]) > 0.9
    assert all(4 * result.pairs <= pairs_of_search(study) for study, result in found)


def test_the_winner_meets_the_trusted_start_and_the_runner_up() -> None:
    study = searched([0.5, 0.6, 0.9, 0.8] + [0.1] * 36)
    assert planned(study, space_of()) == Confirmation(2, (0, 3), 0, (1, 2, 3))


def test_a_runner_up_costs_no_seed_below_three() -> None:
    study = searched([0.5, 0.6, 0.9, 0.8] + [0.1] * 28)
    assert planned(study, space_of()) == Confirmation(2, (0,), 0, (1, 2, 3, 4))


def test_a_trusted_winner_meets_the_runner_up_alone() -> None:
    assert planned(searched([0.9, 0.1, 0.3] + [0.2] * 20), space_of()).rivals == (2,)


def test_a_trusted_runner_up_is_compared_once() -> None:
    assert planned(searched([0.8, 0.9] + [0.2] * 60), space_of()).rivals == (0,)


@pytest.mark.parametrize(("factor", "rival", "trusted"), [(1, 7, 7), (2, 21, None)])
def test_without_trusted_settings_the_preset_is_the_reference(
    factor: int, rival: int, trusted: int | None
) -> None:
    study = searched([0.1] * 20 + [0.9, 0.8])
    study[0].params["learn_rate"] = PRESET_RATE * 3
    study[7].params["learn_rate"] = PRESET_RATE * factor
    found = planned(study, space_of(first=()))
    assert (found.rivals[0], found.trusted) == (rival, trusted)


def test_only_the_first_trusted_settings_are_the_start() -> None:
    study = searched([0.5, 0.6, 0.9] + [0.1] * 60)
    found = planned(study, space_of(first=({}, {"learn_rate": 0.5})))
    assert (found.trusted, found.rivals) == (0, (0, 1))
    assert (
        planned(searched([0.9, 0.6] + [0.1] * 30), space_of(first=({}, {"learn_rate": 0.5}))).trusted is None
    )


def test_a_seed_of_the_search_confirms_nothing() -> None:
    study = searched([0.5] * 30)
    study[4].params[SEED] = 17
    assert planned(study, space_of()).seeds == (18, 19, 20)


@pytest.mark.parametrize(
    ("search", "reason"),
    [
        (
            {},
            Unconfirmed(
                "2 further seeds of trials 1 and 0 need 400 sentence pairs; --confirm 0.25 allows 75", 1.34
            ),
        ),
        ({"confirm": "off"}, None),
        ({"scheduler": "pbt"}, None),
    ],
)
def test_no_plan_without_budget_or_wish(search: dict[str, object], reason: Unconfirmed | None) -> None:
    assert plan(searched([0.1, 0.3, 0.2]), space_of(**search), SETTINGS) == reason
    if reason is not None:
        enough = space_of(confirm=reason.sufficient)
        assert isinstance(plan(searched([0.1, 0.3, 0.2]), enough, SETTINGS), Confirmation)


@given(st.integers(2, 60), st.integers(1, 10**6), st.data())
def test_the_advised_share_is_enough(n_trials: int, pairs: int, data: st.DataObject) -> None:
    study = searched([0.1] * (n_trials - 2) + [0.3, 0.2])
    for trial in study:
        end(study, trial.number, trial.best("max"), data.draw(st.integers(1, pairs)))
    refused = plan(study, space_of(confirm=1e-9), SETTINGS)
    assert isinstance(refused, Unconfirmed)
    assert refused.sufficient is not None
    assert isinstance(plan(study, space_of(confirm=refused.sufficient), SETTINGS), Confirmation)


def test_a_share_is_enough_although_its_product_is_rounded_down() -> None:
    study = searched([0.1, 0.3, 0.2])
    for number, pairs in enumerate((15_000, 14_000, 171_000)):
        end(study, number, study[number].best("max"), pairs)
    assert 0.29 * pairs_of_search(study) < 2 * (15_000 + 14_000)
    assert isinstance(plan(study, space_of(confirm=0.29), SETTINGS), Confirmation)


def test_no_plan_for_a_winner_that_was_stopped() -> None:
    study = searched([0.1, 0.3])
    study[1].state = "PRUNED"
    assert plan(study, space_of(), SETTINGS) == Unconfirmed("the winner, trial 1, was stopped early")


def test_no_plan_without_a_rival() -> None:
    assert plan(searched([0.1]), space_of(), SETTINGS) == Unconfirmed("no other trial is complete")


def test_a_lower_loss_is_better() -> None:
    study = searched([0.5, 0.1] + [0.9] * 30, mode="min")
    result = confirmed(study, space_of(), lambda trial, seed: 0.5 - 0.4 * trial.number + 0.01 * (seed % 3))
    assert result.outcome == "proven"
    assert (result.comparisons[0].lead.mean or 0.0) == pytest.approx(0.4)


def noisy(trial: Trial, seed: int) -> float:
    """A score with noise that depends on settings and seed alone."""
    return float(np.random.default_rng((trial.number, seed)).normal(trial.number / 20))


@settings(max_examples=15)
@given(slots=st.integers(1, 6), size=st.integers(16, 60))
def test_slots_do_not_change_the_verdict(slots: int, size: int) -> None:
    scores = np.random.default_rng(size).normal(size=size).tolist()
    one, many = searched(scores), searched(scores)
    assert confirmed(one, space_of(), noisy) == confirmed(many, space_of(), noisy, slots=slots)


@settings(max_examples=10)
@given(size=st.integers(30, 60), cut=st.integers(0, 12))
def test_a_cut_confirmation_ends_as_an_undisturbed_one(
    size: int, cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Killed while a run trains: its record at that moment leads to the same verdict."""
    scores = np.random.default_rng(size).normal(size=size).tolist()
    whole, path = searched(scores), tmp_path_factory.mktemp("cut") / "study.json"
    result = confirmed(whole, space_of(), noisy)
    study = searched(scores, path=path)
    planned(study, space_of())
    for _ in range(cut):
        if (run := next_run(study)) is None:
            break
        added = study.runs.add(study[run[0]].params | {SEED: run[1]}, confirms=run[0])
        if added.number < cut - 1:
            end(study.runs, added.number, noisy(study[run[0]], run[1]))
    study.save()
    again = Study.reopen(path)
    assert confirmed(again, space_of(), noisy) == result
    assert Study.read(path).confirmation == whole.confirmation
    assert [run.values for run in Study.read(path).runs] == [run.values for run in whole.runs]


def test_a_round_under_way_is_no_verdict() -> None:
    study, space = searched([0.5, 0.9] + [0.1] * 30), space_of(num_samples=32)
    planned(study, space)
    for number in (1, 0):
        assert next_run(study) == (number, 1)
        study.runs.add(study[number].params | {SEED: 1}, confirms=number)
    assert next_run(study) is None
    found = verdict(study)
    assert found is not None
    assert (found.is_over, found.outcome) == (False, "open")
    assert not is_finished(study, Search("mine", "uid", space, SETTINGS, Resources()))


def test_a_failed_run_of_the_winner_claims_nothing() -> None:
    study = searched([0.5, 0.9] + [0.1] * 60)
    planned(study, space_of())
    number, seed = next_run(study) or (0, 0)
    study.runs.add(study[number].params | {SEED: seed}, confirms=number)
    end(study.runs, 0, None)
    result = confirmed(study, space_of(), lambda trial, _: float(trial.number))
    assert (result.outcome, result.handed_over) == ("not separated", 1)
    told = "trial 1 failed with seed 1: diverged: loss is nan"
    assert result.lines()[0] == f"Trial 1 is not compared with the trusted start, trial 0: {told}"


@pytest.mark.parametrize(("trusted", "outcome", "handed_over"), [(0.1, "proven", 2), (1.7, "worse", 0)])
def test_a_later_failure_leaves_a_decided_comparison_as_it_is(
    trusted: float, outcome: str, handed_over: int
) -> None:
    """The fourth seed is needed for the runner-up alone, and the winner fails with it."""

    def score(trial: Trial, seed: int) -> float | None:
        if (trial.number, seed) == (2, 4):
            return None
        noise = 0.01 * (seed % 3)
        return {0: trusted + noise, 2: 0.9 - noise, 3: 0.9 * (seed % 2)}[trial.number]

    result = confirmed(searched([0.5, 0.6, 0.9, 0.8] + [0.1] * 44), space_of(), score)
    first, runner_up = result.comparisons
    assert (first.lead.n_seeds, first.failure) == (3, "")
    assert runner_up.failure == "trial 2 failed with seed 4: diverged: loss is nan"
    assert (result.outcome, result.handed_over) == (outcome, handed_over)
    word = "better" if outcome == "proven" else "worse"
    assert result.lines()[0].startswith(f"Trial 2 is {word} than the trusted start, trial 0: lead ")


def test_a_runner_up_is_claimed_only_with_the_trusted_start() -> None:
    study = searched([0.5, 0.6, 0.9, 0.8] + [0.1] * 36)
    result = confirmed(
        study,
        space_of(),
        lambda trial, seed: {0: 0.9 * (seed % 2), 2: 0.9 + 0.01 * (seed % 3), 3: 0.5}[trial.number],
    )
    trusted, runner_up = result.comparisons
    assert not trusted.lead.is_separated
    assert runner_up.lead.is_above_chance
    assert (result.outcome, runner_up.is_claimed) == ("not separated", False)
    told = (
        "The lead of trial 2 over the runner-up, trial 3 counts only if the previous lead is separated "
        "from chance: +0.4100"
    )
    assert result.lines()[1].startswith(told)


def test_a_rival_proven_better_is_handed_over() -> None:
    study = searched([0.5, 0.9] + [0.1] * 60)
    result = confirmed(study, space_of(), lambda trial, seed: 0.5 - trial.number + 0.01 * (seed % 3))
    assert (result.outcome, result.handed_over) == ("worse", 0)
    assert study.winner() is study.leader() is study[0]
    assert study.scored_winner() is study[1]
    assert result.lines()[-1] == "The search returns trial 0 instead of trial 1"


def test_of_two_better_rivals_the_best_is_handed_over() -> None:
    study = searched([0.5, 0.9, 0.6] + [0.1] * 90)
    heights = {1: 0.1, 0: 0.5, 2: 0.9}
    result = confirmed(study, space_of(), lambda trial, seed: heights[trial.number] + 0.01 * (seed % 3))
    assert [c.lead.is_below_chance for c in result.comparisons] == [True, True]
    assert result.handed_over == 2


def test_a_higher_mean_alone_replaces_no_winner() -> None:
    study = searched([0.5, 0.9] + [0.1] * 60)
    result = confirmed(study, space_of(), lambda trial, seed: (seed % 2) * (0.5 - trial.number))
    assert (result.comparisons[0].lead.mean or 0.0) < 0
    assert (result.outcome, result.handed_over) == ("not separated", 1)
    assert study.winner() is study[1]


def grown(study: Study, *scores: float) -> Study:
    """The search with more complete trials."""
    for score in scores:
        end(study, study.add({"learn_rate": 0.1 + len(study)}).number, score)
    return study


def test_a_grown_search_is_not_confirmed_again() -> None:
    study = searched([0.5, 0.9] + [0.1] * 30)
    confirmed(study, space_of(), noisy)
    before = study.confirmation
    assert plan(grown(study, *[0.2] * 100), space_of(), SETTINGS) is before


def test_a_new_winner_is_confirmed_beside_known_runs() -> None:
    study = searched([0.5, 0.9] + [0.1] * 30)
    confirmed(study, space_of(), noisy)
    n_runs = len(study.runs)
    grown(study, *[0.2] * 18, 0.95, *[0.2] * 81)
    assert verdict(study) is None
    assert study.winner() is study[50]
    found = plan(study, space_of(), SETTINGS)
    assert isinstance(found, Confirmation)
    assert (found.winner, found.rivals) == (50, (0, 1))
    begin(study, found)
    assert {run.confirms for run in study.runs} == {0, 1}
    assert [run.number for run in study.runs] == list(range(n_runs))
    assert confirmed(study, space_of(), noisy).n_runs >= n_runs


def test_a_new_winner_is_confirmed_within_the_budget() -> None:
    """Runs of the earlier winner, which the new plan does not need, count too."""
    study = searched([0.5, 0.9] + [0.1] * 30)
    assert confirmed(study, space_of(), lambda trial, _: float(trial.number)).n_runs == 6
    planned(grown(study, 0.95, 0.94, *[0.2] * 6), space_of())
    assert study.confirmation == Confirmation(32, (0,), 0, (1, 2), pairs_before=4 * PAIRS)
    assert [run.confirms for run in study.runs] == [0, 0]
    spent = confirmed(study, space_of(), lambda *_: 0.5).pairs + study.confirmation.pairs_before
    assert spent == 8 * PAIRS <= pairs_of_search(study) / 4


def test_runs_of_an_earlier_winner_use_up_the_budget() -> None:
    study = searched([0.5, 0.9] + [0.1] * 30)
    assert confirmed(study, space_of(), lambda *_: 0.5).pairs == 800
    found = plan(grown(study, 0.95), space_of(), SETTINGS)
    assert isinstance(found, Unconfirmed)
    assert found.sufficient is not None
    assert found.sufficient * pairs_of_search(study) >= 800 + 4 * PAIRS
    assert isinstance(plan(study, space_of(confirm=found.sufficient), SETTINGS), Confirmation)


def test_a_run_cut_short_is_not_kept_for_a_new_winner() -> None:
    study = searched([0.5, 0.9] + [0.1] * 30)
    first = planned(study, space_of())
    study.runs.add(study[0].params | {SEED: first.seeds[0]}, confirms=0)
    study.runs.report(0, {"pairs_seen": PAIRS / 2, "o": 0.1}, "o")
    second = planned(grown(study, 0.95, *[0.2] * 99), space_of())
    assert first.seeds[0] in second.seeds
    assert 0 in second.rivals
    assert len(study.runs) == 0
    assert second.pairs_before == PAIRS / 2
