from __future__ import annotations

from dataclasses import replace

from tune.worker.trial_report import TrialReport, read_report


def test_a_report_is_read_back_among_the_keys_of_ray() -> None:
    report = TrialReport(
        number=3,
        metrics={"pairs_seen": 400.0, "val/match@01": 0.5, "seconds": 7.0},
        seconds=1.5,
        started=10.0,
        ended=11.5,
        machine="north",
        gpu_memory=0.25,
    )
    of_ray = {"trial_id": "a", "time_total_s": 2.0, "training_iteration": 1, "done": False}
    assert read_report(of_ray | report.to_result()) == report
    failed = replace(report, metrics={}, is_last=True, failure="out of device memory", is_memory_fault=True)
    assert read_report(failed.to_result() | of_ray) == failed
