"""Tags and metrics of a search's run: the winner's lead with further seeds."""

from __future__ import annotations

from tune.confirmation.paired_test import Lead
from tune.confirmation.verdict import Comparison, Verdict
from tune.results.run_tags import confirmation_tags, leads

TRUSTED = Comparison(3, "trusted start", Lead(0.25, 3, 0.125, 0.375), "", is_claimed=True)
RUNNER_UP = Comparison(5, "runner-up", Lead(-0.5, 1), "its run failed", is_claimed=False)
FOUND = Verdict(7, (TRUSTED, RUNNER_UP), is_over=True, pairs=100, n_runs=6, n_most=6)


def test_leads_are_metrics_with_their_intervals() -> None:
    assert leads(FOUND) == {
        "lead/trusted_start": 0.25,
        "lead/trusted_start_low": 0.125,
        "lead/trusted_start_high": 0.375,
        "lead/runner_up": -0.5,  # without an interval before the first look
    }


def test_the_confirmation_is_a_tag_and_a_line_for_each_rival() -> None:
    assert confirmation_tags(FOUND) == {
        "themo.confirmation": "proven",
        "themo.confirmation.trusted_start": FOUND.line(TRUSTED),
        "themo.confirmation.runner-up": FOUND.line(RUNNER_UP),
    }


def test_a_search_without_a_confirmation_has_neither() -> None:
    assert (leads(None), confirmation_tags(None)) == ({}, {})
