"""Two searches beside each other on one page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from browser import opened
from recorded_search import leave_best, record, refusal, searched_by, text_of

from themo.cli.main import main
from themo.config.yaml_files import write_yaml
from tune.results.report.comparison import differences, write_comparison
from tune.space.dimensions import Choice
from tune.study.search import Search

Two = tuple[Search, Path, Search, Path]


@pytest.fixture
def two(tmp_path: Path) -> Two:
    first, first_folder = record(tmp_path / "logs", name="first")
    second, second_folder = record(tmp_path / "logs", n=6, name="second")
    first = searched_by(first, first_folder, num_samples=12)
    leave_best(first, first_folder)
    return first, first_folder, searched_by(second, second_folder, num_samples=6), second_folder


def saved(search: Search, folder: Path) -> Search:
    (folder / "search.yaml").write_text(write_yaml(search.to_tree()), encoding="utf-8")
    return search


def test_the_page_shows_winners_scores_and_differences(two: Two) -> None:
    path = write_comparison(*two)
    assert path == two[1] / "report-beside-second.html"
    text = text_of(path)
    assert "first and second Both by val/match@01 (higher is better)." in text
    assert "best val/match@01 0.4950 trial 10" in text
    assert "best val/match@01 0.2250 trial 4" in text
    assert "learn_rate 0.00357 0.000105" in text
    assert "student, Spanish 0.750" in text
    assert "The winner has not been tested." in text
    assert "search: num_samples 12 6" in text


def test_differing_settings_are_named_but_no_folders(two: Two) -> None:
    first, _, second, _ = two
    settings = second.settings.override({"epochs": 3.0, "logs_dir": "elsewhere", "warmup_steps": 7})
    dimensions = {**second.space.dimensions, "pooling": Choice(["mean", "first"])}
    del dimensions["warmup_steps"]
    second = replace(second, settings=settings, space=replace(second.space, dimensions=dimensions))
    found = {pair.name: (pair.first, pair.second) for pair in differences(first, second)}
    assert found == {
        "search: num_samples": ("12", "6"),
        "values of warmup_steps": ("10 to 14", "fixed: 7"),
        "values of pooling": ("fixed: mean", "mean, first"),
        "epochs": (f"{first.settings.training.epochs:g}", "3"),
    }


def test_equal_searches_have_no_differences(two: Two) -> None:
    assert list(differences(two[0], two[0])) == []


def test_the_command_takes_two_names(two: Two, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    saved(two[2], two[3])
    assert main(["report", "first", "second", "--logs-dir", str(tmp_path / "logs")]) == 0
    assert capsys.readouterr().out == f"{two[1] / 'report-beside-second.html'}\n"


def test_searches_of_different_objectives_are_refused(
    two: Two, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    other = replace(two[2], settings=two[2].settings.override({"objective": "val/loss"}))
    saved(other, two[3])
    message = refusal(capsys, "first", "second", "--logs-dir", tmp_path / "logs")
    assert message == (
        "report A B: both searches must have the same objective, first has val/match@01, second has val/loss"
    )


def test_searches_of_different_second_objectives_are_refused(
    two: Two, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for search, folder, second in ((two[0], two[1], "mb"), (two[2], two[3], "ms")):
        searched_by(search, folder, second_objective=second)
    assert refusal(capsys, "first", "second", "--logs-dir", tmp_path / "logs") == (
        "report A B: both searches must have the same second objective, first has mb, second has ms"
    )
    saved(two[2], two[3])
    assert main(["report", "first", "second", "--logs-dir", str(tmp_path / "logs")]) == 0, "one has none"


def test_other_pairs_of_names_are_refused(
    two: Two, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    logs = ["--logs-dir", tmp_path / "logs"]
    assert refusal(capsys, "first", "first", *logs) == (
        "report A B: must be two different searches, got first twice"
    )
    message = refusal(capsys, "first", "second", "third", *logs)
    assert message.startswith("unrecognized arguments: third")
    assert refusal(capsys, "first", "second", "--follow", *logs) == (
        "--follow: needs exactly one search, got first and second"
    )
    assert refusal(capsys, "first", "--port", 8000, *logs) == "--port: needs --follow, got 8000"
    version = tmp_path / "logs" / "version_0"
    version.mkdir()
    (version / "config.yaml").touch()
    assert refusal(capsys, "first", version, *logs) == (
        f"report A B: must be a search, but {version} is a version directory"
    )
    assert refusal(capsys, version, "--follow", *logs) == (
        f"--follow: must be a search, but {version} is a version directory"
    )


@pytest.mark.slow
@pytest.mark.parametrize("width", [1240, 400])
def test_the_comparison_in_a_browser(two: Two, width: int) -> None:
    path = write_comparison(*two)
    with opened(path, width=width) as seen:
        assert seen.drawn()["progress"] > 0
        assert seen.overlaps() == []
        assert seen.page.evaluate("document.documentElement.scrollWidth") == width
        cut = "tables => tables.filter(table => table.scrollWidth > table.clientWidth).length"
        assert seen.page.locator(".scores").evaluate_all(cut) == 0
    assert (seen.errors, seen.requests) == ([], [path.as_uri()])
