"""The benchmarks' own arithmetic and refusals; what they measure is measured by ``make bench``."""

from __future__ import annotations

import json
import math
import subprocess
import time
from contextlib import nullcontext
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tiny import SettingsFactory

from benchmarks import (
    against_older,
    cached_results,
    miniature_build,
    other_searches,
    search_efficiency,
    time_to_target,
)
from benchmarks.__main__ import main
from benchmarks.against_older import Use, compared
from benchmarks.course import Course, Target
from benchmarks.image_search import peak_mib
from benchmarks.measure import Comparison, Goal, Options, Row, compare
from benchmarks.other_searches import optuna_alone, random_on_curves, ray_stock
from benchmarks.random_settings import RandomRun, draw, read_runs
from benchmarks.search_efficiency import search, without_first
from benchmarks.searches.curves import Curve
from benchmarks.synthetic import words, write_backbone, write_corpus
from benchmarks.time_to_target import collect_courses, row
from themo.config import settings as config
from themo.config.settings import Settings
from themo.data.bitext import Plan, open_bitexts
from themo.data.cleaning import Rules
from themo.data.corpora import Corpus
from themo.models.tokens import Tokenizer
from tune.space.dimensions import FloatRange, IntRange
from tune.space.search_settings import SearchSettings
from tune.space.search_space import Space


def test_the_ratio_is_the_median_of_ratios_over_rounds() -> None:
    comparison = Comparison(ours=[10.0, 40.0, 90.0], theirs=[5.0, 10.0, 10.0])
    row = comparison.row("rate", goal=4.0, unit="pairs")
    assert row.figure == 4.0  # of 2, 4 and 9
    assert row.spread == (2.0, 9.0)
    assert row.is_met is True
    assert row.detail == "40 against 10 pairs/s"


@pytest.mark.parametrize(
    ("goal", "figure", "met"),
    [
        (Goal(3.0), 3.0, True),
        (Goal(3.0), 2.99, False),
        (Goal(1.5, "<"), 1.5, False),
        (Goal(1.5, "<"), 1.4, True),
        (Goal(1.5, "<"), math.nan, False),
        (None, 1.0, None),
    ],
)
def test_goal(goal: Goal | None, figure: float, met: bool | None) -> None:
    assert Row("what", figure, "x", goal).is_met is met


def test_skipped_row_misses_no_goal_and_is_json() -> None:
    row = Row("what", None, "x", Goal(3.0), detail="skipped: why", machine="m", commit="c")
    assert json.loads(row.to_json())["is_met"] is None
    never = Row("what", math.inf, "x", Goal(3.0, "<"), (1.0, math.inf), machine="m", commit="c")
    written = json.loads(never.to_json(), parse_constant=pytest.fail)
    assert (written["figure"], written["spread"], written["is_met"]) == (None, [1.0, None], False)


def test_variants_alternate_after_a_warm_up() -> None:
    calls: list[str] = []

    def note(label: str) -> float:
        calls.append(label)
        return 1.0

    compare("x", ours=lambda n: note(f"a{n}"), theirs=lambda n: note(f"b{n}"), rounds=2)
    assert calls == ["b-1", "a-1", "a0", "b0", "b1", "a1"]


def test_memory_that_a_search_gives_back_counts() -> None:
    def work() -> None:
        block = bytearray(b"x" * (64 * 2**20))
        time.sleep(0.2)  # a few looks of the watch
        del block

    assert peak_mib(work, times=2) > 60


def test_unknown_benchmark_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["speed"]) == 2
    assert capsys.readouterr().err.startswith("Error: unknown benchmark: speed; choose from startup,")


def test_real_data_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert Options().why_no_real_data() == (
        "skipped: give --tatoeba and --beto, or set THEMO_BENCH_TATOEBA and THEMO_BENCH_BETO"
    )
    refusal = Options(tatoeba=tmp_path, beto=tmp_path).why_no_real_data()
    assert refusal is not None
    assert str(tmp_path / "spa.txt") in refusal


def test_synthetic_corpus_has_no_duplicates_and_no_unknown_words(tmp_path: Path) -> None:
    write_corpus(tmp_path / "pairs.tsv", 300, seed=0)
    write_backbone(tmp_path, hidden_size=64, layers=1)
    corpus = Corpus("synthetic", (tmp_path / "pairs.tsv",))
    (tmp_path / "built").mkdir()
    (tmp_path / "apart.tsv").write_text("en\tes\napart\taparte\n")
    apart = Corpus("apart", (tmp_path / "apart.tsv",))
    Plan([corpus], Rules(3.0, True), apart, 300, None, frozenset()).build(tmp_path / "built")
    pairs, _, drops = open_bitexts(tmp_path / "built")
    assert (len(pairs), drops[0].dropped) == (300, {})
    tokenizer = Tokenizer.load(str(tmp_path))
    ids, _ = tokenizer.encode([text for chunk in pairs.spanish() for text in chunk.to_pylist()])
    assert tokenizer.inner.unk_token_id not in ids
    assert len(set(words(4_900))) == 4_900


def course_of(*reports: tuple[int, float, float], target: Target) -> Course:
    course = Course(target)
    for trial, epoch, value in reports:
        course.enter(trial, epoch, value)
    return course


def test_a_resumed_trial_pays_for_new_epochs_only() -> None:
    course = course_of((0, 0.5, 0.2), (1, 0.5, 0.6), (0, 1.0, 0.7), target=Target(0.7))
    assert [spent for _, spent, _ in course.reports] == [0.5, 1.0, 1.5]
    assert (course.until, course.trials, course.is_over) == (1.5, 2, True)


def test_the_best_of_a_course_never_falls_and_persists() -> None:
    course = course_of((0, 1.0, 0.6), (0, 2.0, 0.5), (1, 1.0, 0.8), target=Target(0.9))
    assert course.best_at(np.array([0.0, 0.9, 1.0, 2.5, 3.0, 99.0])).tolist() == [0, 0, 0.6, 0.6, 0.8, 0.8]


def test_a_search_below_the_bar_ends_at_its_limit() -> None:
    course = course_of((0, 1.0, 0.6), target=Target(0.9, limit=1.0))
    assert course.is_over
    assert course.until == math.inf
    assert not course_of((0, 0.9, 0.6), target=Target(0.9, limit=1.0)).is_over


def test_random_search_trains_whole_runs_until_the_bar() -> None:
    curves = [
        Curve(i, 0, {}, (8, 16), (0.0, best), (1.0, 2.0)) for i, best in enumerate([0.1, 0.2, 0.9, 0.3])
    ]
    untils = {random_on_curves(curves, 2.0, Target(0.9), order).until for order in range(40)}
    assert untils == {2.0, 4.0, 6.0, 8.0}


def test_a_finite_median_needs_half_of_the_searches() -> None:
    target = Target(0.5)
    there, not_there = course_of((0, 3.0, 0.5), target=target), course_of((0, 9.0, 0.4), target=target)
    assert row("x", [there, there, not_there], "").figure == 3.0
    assert row("x", [there, not_there], "").figure == math.inf
    assert row("x", [there, not_there], "").spread == (3.0, math.inf)


def test_results_are_read_without_a_cut_last_line(tmp_path: Path) -> None:
    path = tmp_path / "bench" / "results.jsonl"
    assert cached_results.read(path) == []
    cached_results.append(path, {"seed": 0, "text": "año"})
    cut_last_line(path)
    assert cached_results.read(path) == [{"seed": 0, "text": "año"}]
    cached_results.append(path, {"seed": 1})
    assert [entry["seed"] for entry in cached_results.read(path)] == [0, 1]
    assert path.read_text().count("\n") == 2


def test_only_a_cut_line_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text('{"seed": 0')
    cached_results.append(path, {"seed": 1})
    assert cached_results.read(path) == [{"seed": 1}]


def test_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text('{"seed": 0}\n{"seed"\n')
    with pytest.raises(ValueError, match=r"results\.jsonl: line 2 must be JSON, delete it: "):
        cached_results.read(path)


def cut_last_line(path: Path) -> None:
    """Add half a line, as a killed benchmark may."""
    with path.open("a") as file:
        file.write('{"seed": 7, "te')


def test_ended_searches_are_repeated_only_for_a_new_target(tmp_path: Path) -> None:
    done: list[int] = []

    def method(space: Space, settings: Settings, target: Target, seed: int) -> Course:
        done.append(seed)
        return course_of((0, 0.5, 0.25), (seed, 1.0, 0.5), target=target)

    settings, kept = config.load(), tmp_path / "courses.jsonl"
    arguments = {"settings": settings, "kept": kept, "methods": {"m": method}}
    first = collect_courses([("m", 0)], target=Target(0.5, 9.0), **arguments)
    cut_last_line(kept)
    again = collect_courses([("m", 0), ("m", 1)], target=Target(0.5, 9.0), **arguments)
    assert done == [0, 1]
    assert again["m", 0].reports == first["m", 0].reports
    collect_courses([("m", 0)], target=Target(0.6, 9.0), **arguments)
    assert done == [0, 1, 0]
    arguments["settings"] = settings.override({"report_pairs": 9_000})
    collect_courses([("m", 0)], target=Target(0.5, 9.0), **arguments)
    assert done == [0, 1, 0, 0]


def test_row_names_the_commits_of_cached_searches(tmp_path: Path) -> None:
    def method(space: Space, settings: Settings, target: Target, seed: int) -> Course:
        course = course_of((0, 0.5, 0.5), target=target)
        course.commit = {0: "aaaaaaa", 1: "bbbbbbb", 2: "aaaaaaa"}.get(seed, course.commit)
        return course

    wanted, kept = [("m", seed) for seed in range(4)], tmp_path / "courses.jsonl"
    for _ in ("run", "cached"):
        found = collect_courses(wanted, config.load(), Target(0.5), kept, {"m": method})
        assert row("m", list(found.values()), "4 searches").detail == (
            "upper median; 4 searches; cached results of other commits: aaaaaaa (2), bbbbbbb (1)"
        )
    assert row("m", [found["m", 3]], "1 search").detail == "upper median; 1 search"


def test_rows_and_plot_contain_the_seeds_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def method(space: Space, settings: Settings, target: Target, seed: int) -> Course:
        return course_of((0, 1.0 + seed, 0.995), target=target)

    plotted: list[int] = []
    monkeypatch.setattr(time_to_target, "KEPT", tmp_path / "courses.jsonl")
    monkeypatch.setattr(
        time_to_target, "draw", lambda courses, *_: plotted.append(len(courses["Themo: tpe, asha"]))
    )
    methods = dict.fromkeys(time_to_target.METHODS, method)
    wanted = [(name, seed) for name in methods for seed in (0, 1, 2)]
    collect_courses(wanted, config.load(), time_to_target.TARGET, tmp_path / "courses.jsonl", methods)
    for asked, seeds in (((2, 0), (0, 2)), ((), (0, 1, 2))):
        rows = time_to_target.run(Options(search_seeds=asked))
        assert {row.seeds for row in rows[1:]} == {seeds}
        assert plotted.pop() == len(seeds)


def test_cached_runs_count_for_equal_settings_only(tmp_path: Path) -> None:
    log, params = tmp_path / "runs.jsonl", {"learn_rate": 0.1, "loss": "mse"}
    runs = [RandomRun(number, 0, params, [{"val/loss": 1.0}], commit="aaaaaaa") for number in (0, 1)]
    for run in runs:
        cached_results.append(log, {"inputs": "here"} | asdict(run))
    cached_results.append(log, asdict(replace(runs[0], seed=1)))  # without inputs, as earlier commits wrote
    cut_last_line(log)
    assert read_runs(log, "here", [params, {**params, "loss": "cosine"}]) == {(0, 0): runs[0]}
    assert read_runs(log, "there", [params]) == {}
    assert cached_results.other_commits(runs) == "; cached results of other commits: aaaaaaa (2)"


def test_inputs_are_settings_without_places(settings: SettingsFactory, tmp_path: Path) -> None:
    inputs = cached_results.inputs_of(settings())
    assert cached_results.inputs_of(settings(cache_dir=str(tmp_path / "other"))) == inputs
    assert cached_results.inputs_of(settings(epochs=7)) != inputs
    assert cached_results.inputs_of(settings(), "tested") != inputs


def tiny_space(**search: object) -> Space:
    dimensions = {
        "learn_rate": FloatRange(1e-3, 1e-2, log=True),
        "batch_size": IntRange(16, 32),
    }
    return Space(dimensions, search=SearchSettings.model_validate({"grace_pairs": 200} | search))


def test_optuna_alone_starts_with_a_setting_that_is_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[Settings] = []

    def train(settings: Settings, _data: None, report: Any) -> None:
        tried.append(settings)
        report(SimpleNamespace(metrics={"epoch": 1.0, settings.objective: 1.0}, is_last=True))

    monkeypatch.setattr(other_searches, "prepare_data", lambda _settings: None)
    monkeypatch.setattr(other_searches, "train", train)
    settings = config.load()
    optuna_alone(without_first(settings), settings, Target(0.9), seed=0)
    assert len(tried) == 1
    assert tried != [settings.override(draw(1)[0])]


def test_search_efficiency_without_seeds_trains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_efficiency, "collect", lambda *_: pytest.fail("trained"))
    assert search_efficiency.run(Options(search_seeds=())) == []


@pytest.mark.slow
def test_ray_and_optuna_receive_equal_reports_of_equal_trials(tiny_settings: Settings) -> None:
    target = Target(1.0, limit=4.0)
    alone, stock = (s(tiny_space(), tiny_settings, target, 3) for s in (optuna_alone, ray_stock))
    assert stock.reports[:4] == alone.reports[:4]  # the first trial, which nothing can stop
    assert {trial for trial, _, _ in stock.reports} == set(range(stock.trials))
    assert all(4.0 <= course.epochs < 5.0 for course in (alone, stock))


@pytest.mark.slow
def test_our_paused_trial_resumes_from_its_pause(tiny_settings: Settings) -> None:
    space = tiny_space(scheduler="pausing-asha", startup_trials=0)
    course = search(space, tiny_settings, Target(1.0, limit=6.0), seed=0)
    order = [trial for trial, _, _ in course.reports]
    resumed = [trial for i, trial in enumerate(order) if i and trial != order[i - 1] and trial in order[:i]]
    assert resumed
    spent = [0.0] + [epochs for _, epochs, _ in course.reports]
    assert all(0 < after - before < 1.0 for before, after in pairwise(spent))


def test_builds_alternate_and_the_median_ratio_counts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    order: list[str] = []
    seconds = {"now": iter([2.0, 9.0, 5.0]), "before": iter([10.0, 10.0, 10.0])}

    def build_seconds(tree: Path, seed: int) -> tuple[float, float]:
        assert seed == 3
        name = "before" if tree == tmp_path else "now"
        order.append(name)
        wall = next(seconds[name])
        return wall, 2 * wall

    monkeypatch.setattr(miniature_build, "checkout", lambda _commit: nullcontext(tmp_path))
    monkeypatch.setattr(miniature_build, "_build_seconds", build_seconds)
    wall, processor = miniature_build.compared("abc", rounds=3, seed=3)
    assert order == ["now", "before", "before", "now", "now", "before"]
    assert wall.figure == processor.figure == 0.5
    assert wall.spread == (0.2, 0.9)
    assert wall.is_met is False
    assert processor.goal is None


def test_commands_that_were_light_before_have_no_goal_of_a_ratio(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("checkout", "_workplace"):
        monkeypatch.setattr(against_older, name, lambda *_: nullcontext(tmp_path))
    monkeypatch.setattr(against_older, "measured", lambda *_: Use(seconds=0.05, mib=40.0))
    goals = {row.name: row.goal for row in compared("abc", 1, with_setup=False)}
    assert goals["refusal, wrong number, CPU time"] == Goal(0.1, "<")
    assert goals["refusal, unknown option, CPU time"] is None
    assert goals["refusal, unknown option, peak memory"] == Goal(120, "<")
    assert goals["import themo, CPU time"] is None
    assert goals["import themo, seconds"] == Goal(0.1, "<")


def test_an_older_commit_is_checked_out_and_removed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "--quiet")
    contents = ("older", "newer")
    for content in contents:
        (tmp_path / "file").write_text(content)
        git("add", "file")
        git("commit", "--quiet", "-m", content)
    monkeypatch.setattr(miniature_build, "HERE", tmp_path)
    with miniature_build.checkout(git("rev-parse", "HEAD~1")) as tree:
        assert (tree / "file").read_text() == "older"
    assert not tree.exists()
    assert len(git("worktree", "list").splitlines()) == 1
