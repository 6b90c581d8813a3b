import math

from hypothesis import example, given
from hypothesis import strategies as st

from themo.training.report_times import FEWEST, is_due, last_reports_before_end, report_interval

totals = st.integers(1, 10**7)
settings = st.integers(1, 10**6)


@st.composite
def runs(draw: st.DrawFn) -> tuple[int, int, int]:
    """Total pairs, `report_pairs` and a batch size, of 2,000 steps at most."""
    batch = draw(st.integers(1, 512))
    return draw(st.integers(1, 2000 * batch)), draw(settings), batch


def reports(total: int, report_pairs: int, batch: int) -> list[int]:
    ends = [*range(batch, total, batch), total]
    befores = [0, *ends[:-1]]
    due = [
        after
        for before, after in zip(befores, ends, strict=True)
        if is_due(before, after, total, report_pairs)
    ]
    return due if due and due[-1] == total else [*due, total]


@given(totals, settings)
def test_the_interval_is_a_whole_part_of_the_setting(total: int, report_pairs: int) -> None:
    interval = report_interval(total, report_pairs)
    part = report_pairs / interval
    assert math.isclose(part, round(part), rel_tol=1e-9)
    if total >= FEWEST * report_pairs:
        assert interval == report_pairs
    else:
        assert total / interval >= FEWEST - 0.001  # and no finer than needed
        assert total / (report_pairs / max(1, round(part) - 1)) <= FEWEST


@given(runs())
def test_a_run_reports_often_enough_and_not_at_its_end_twice(run: tuple[int, int, int]) -> None:
    total, report_pairs, batch = run
    times = reports(*run)
    interval = report_interval(total, report_pairs)
    gaps = [after - before for before, after in zip([0, *times], times, strict=False)]
    assert max(gaps) < 1.5 * interval + batch
    if len(times) > 1:
        assert gaps[-1] > interval / 2 - batch
    if batch <= interval:
        assert len(times) >= FEWEST - 1
        assert all(gap > interval - batch for gap in gaps[:-1])


@given(runs())
def test_rungs_are_reported_in_the_step_that_reaches_them(run: tuple[int, int, int]) -> None:
    total, report_pairs, batch = run
    times = reports(*run)
    for rung in range(report_pairs, total - report_pairs // 2, report_pairs):
        first = next(time for time in times if time >= rung)
        assert first < rung + batch or first == total


def test_the_runs_of_people() -> None:
    assert reports(3 * 2950, 8000, 50) == [1600, 3200, 4800, 6400, 8000, 8850]  # whole steps of 50
    assert reports(144_000, 8000, 64) == list(range(8000, 144_001, 8000))
    assert reports(12_000, 8000, 1000) == [2000, 4000, 6000, 8000, 10_000, 12_000]
    assert reports(100, 10**6, 50) == [50, 100]


@given(st.integers(FEWEST, 20_000), st.integers(1, 30_000))
@example(25, 51)
def test_the_last_reports_before_the_end_are_known(total: int, report_pairs: int) -> None:
    due = [after for after in range(1, total) if is_due(after - 1, after, total, report_pairs)]
    assert last_reports_before_end(total, report_pairs) == tuple([0, 0, *due][-2:])
