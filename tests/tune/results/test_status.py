from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock
from formula_search import a_search, settings_in

from themo.cli.main import main
from themo.errors import InputError
from tune.cluster.resources import Resources
from tune.results.status import read_status
from tune.study.naming import LOCK_FILE, STUDY_FILE, search_folder
from tune.study.search import PAIRS_FILE
from tune.study.study import Study


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A search with a trial that ended, one that failed and one under way, over 100 seconds and a pause."""
    search = a_search(tmp_path, "mine", Resources())
    folder = search_folder("mine", settings_in(tmp_path))
    study = Study(folder / STUDY_FILE, search.mode)
    for started, ended, pairs, value in ((0, 50, 1000, 0.5), (20, 60, 500, None), (1000, 1040, 300, 0.7)):
        trial = study.add({"learn_rate": 1e-3, "batch_size": 64})
        trial.enter_attempt(float(started), float(ended))
        metrics = {"pairs_seen": pairs} | ({search.objective: value} if value is not None else {})
        study.report(trial.number, metrics, search.objective)
        trial.enter_checkpoint(f"session-1/{trial.number}")
    study[0].seconds = 50.0
    study.finish(0, "COMPLETE")
    study.finish(1, "FAIL", "diverged: loss is nan")
    return folder


def test_status_in_another_terminal(folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.iterdir()}
    status = read_status(folder)
    assert status.activity == "interrupted"
    assert status.training_seconds == 100.0  # the pause left out
    assert status.pairs_per_second == 18.0
    assert status.seconds_left is None  # a trusted trial alone has ended
    lines = " ".join(status.lines())
    assert "Search mine (interrupted): 3 of 8 trials started: 1 interrupted, 1 complete, 1 fail" in lines
    assert "Training for 2 min, 18 pairs/s To resume" in lines
    assert "Trial 1 failed: diverged: loss is nan" in lines
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_training_without_a_checkpoint_has_no_rate(tmp_path: Path) -> None:
    search = a_search(tmp_path, "mine", Resources())
    study = Study(search.folder / STUDY_FILE, search.mode)
    study.add({}).enter_attempt(0.0, 22.3)
    study.report(0, {"pairs_seen": 500, search.objective: 0.5}, search.objective)
    study.save()
    status = read_status(search.folder)
    assert "Training for 22.3 s" in status.lines()
    assert status.to_json()["pairs_per_second"] is None


def test_status_says_why_trials_are_left_out(tmp_path: Path) -> None:
    limits = {"num_samples": 9, "stop_gain": 0.01, "stop_chance": 0.3}
    search = a_search(tmp_path, "mine", Resources(), **limits)
    study = Study(search.folder / STUDY_FILE, search.mode)
    for n in range(8):
        assert read_status(search.folder).to_json()["early_end"] is None
        study.report(study.add({}).number, {"pairs_seen": 1, search.objective: 0.5}, search.objective)
        study.finish(n, "COMPLETE")
    status = read_status(search.folder)
    assert status.to_json()["early_end"] == {
        "chance": pytest.approx(3 / 11),
        "stop_gain": 0.01,
        "stop_chance": 0.3,
        "trials_left_out": 1,
    }
    expected = (
        f"1 trial is left out: the chance of a gain above 0.01 in {search.objective} is 0.27, below 0.3"
    )
    assert expected in status.lines()


def test_status_states_no_chance_while_a_trial_runs(tmp_path: Path) -> None:
    """A running trial may raise the chance; a search killed there does not end early."""
    limits = {"num_samples": 10, "stop_gain": 0.01, "stop_chance": 0.3}
    search = a_search(tmp_path, "mine", Resources(), **limits)
    study = Study(search.folder / STUDY_FILE, search.mode)
    for n in range(9):
        study.report(study.add({}).number, {"pairs_seen": 1, search.objective: 0.5}, search.objective)
        if n < 8:
            study.finish(n, "COMPLETE")
    status = read_status(search.folder)
    assert (status.activity, status.to_json()["early_end"]) == ("interrupted", None)
    assert not any("left out" in line for line in status.lines())
    study.finish(8, "COMPLETE")
    assert read_status(search.folder).to_json()["early_end"]["trials_left_out"] == 1


def test_neither_waiting_nor_a_pause_of_the_search_is_training(folder: Path) -> None:
    study = Study.read(folder / STUDY_FILE)
    study[0].enter_attempt(5000.0, 5100.0, session=2)
    study.save()
    assert read_status(folder).training_seconds == 200.0
    assert read_status(folder).pairs_per_second == 9.0


def test_a_search_that_runs_is_seen_to_and_is_not_disturbed(folder: Path) -> None:
    with FileLock(folder / LOCK_FILE):
        status = read_status(folder)
    assert status.activity == "running"
    assert "3 of 8 trials started: 1 running, 1 complete, 1 fail" in status.lines()[0]
    assert read_status(folder).activity == "interrupted"


def test_a_search_that_prepares_its_data_says_so(tmp_path: Path) -> None:
    a_search(tmp_path, "fresh", Resources())
    folder = search_folder("fresh", settings_in(tmp_path))
    with FileLock(folder / LOCK_FILE):
        lines = read_status(folder).lines()
    assert lines[0].startswith("Search fresh (running): 0 of ")
    assert lines[1] == "Its data is prepared before the first trial"


def test_time_left_assumes_the_slots_used_so_far(folder: Path) -> None:
    study = Study.read(folder / STUDY_FILE)
    study.add({})
    fifth = study.add({})  # the first that is not trusted
    fifth.seconds = 30.0
    study.finish(fifth.number, "PRUNED")
    study.save()
    status = read_status(folder)
    # two trials ran at once: the third and the fourth take 30 s, as three more do
    assert status.seconds_left == 5 * 30 / 2
    assert any("pairs/s, about 1 min left" in line for line in status.lines())


def test_a_search_that_is_done_and_one_not_begun(folder: Path, tmp_path: Path) -> None:
    study = Study.read(folder / STUDY_FILE)
    study.finish(2, "PRUNED")
    for _ in range(5):
        study.finish(study.add({}).number, "FAIL", "x")
    assert read_status(folder).activity == "finished"
    assert read_status(folder).seconds_left is None
    assert read_status(folder).lines()[1] == "Best val/match@01 0.7000 in trial 2"
    (folder / "report.html").touch()
    assert f"Report: {folder / 'report.html'}" in read_status(folder).lines()
    a_search(tmp_path, "fresh", Resources())
    fresh = read_status(search_folder("fresh", settings_in(tmp_path)))
    assert (fresh.activity, fresh.pairs_per_second, fresh.seconds_left) == ("not begun", None, None)
    Study(search_folder("fresh", settings_in(tmp_path)) / STUDY_FILE, "max").save()
    died = read_status(search_folder("fresh", settings_in(tmp_path)))
    assert died.activity == "interrupted"
    assert died.lines()[-1] == f"To resume: python -m themo tune --resume fresh --logs-dir {tmp_path}"


def test_a_search_in_the_default_logs_resumes_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    a_search(tmp_path / "logs", "fresh", Resources())
    assert main(["status", "fresh"]) == 0
    assert "To resume: python -m themo tune --resume fresh\n" in capsys.readouterr().out


def test_all_searches(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a_search(tmp_path, "fresh", Resources())
    (tmp_path / "tune" / "damaged").mkdir()
    (tmp_path / "tune" / "damaged" / "search.yaml").write_text("a: [")
    assert main(["status", "--logs-dir", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert err.startswith(f"Left out: {tmp_path / 'tune' / 'damaged' / 'search.yaml'}:1: is not valid YAML")
    assert err.endswith("\nSearch: fresh, the newest (status NAME shows another)\n")
    table, _, newest = out.partition("Search fresh (not begun): ")
    assert f"To resume: python -m themo tune --resume fresh --logs-dir {tmp_path}" in newest
    rows = [line.split() for line in table.splitlines()[3:] if line.strip()]
    assert [row[0] for row in rows] == ["fresh", "mine"]
    assert rows[1][1:6] == ["interrupted", "2", "of", "8", "0.7000"]
    assert main(["status", "--logs-dir", str(tmp_path), "--json"]) == 0
    expected = json.loads(capsys.readouterr().out)
    assert [search["search"] for search in expected["searches"]] == ["fresh", "mine"]
    assert expected["newest"] == expected["searches"][0]
    assert main(["status", "--logs-dir", str(tmp_path / "none")]) == 0
    assert capsys.readouterr().out == f"There is no search in {tmp_path / 'none' / 'tune'}\n"


def test_a_misspelt_name(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "mime", "--logs-dir", str(tmp_path)]) == 2
    assert capsys.readouterr().err.endswith("search.yaml is missing (did you mean 'mine'?)\n")


def test_the_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (folder / STUDY_FILE).read_bytes()
    assert main(["status", "mine", "--logs-dir", str(tmp_path), "--json"]) == 0
    expected = json.loads(capsys.readouterr().out)
    assert expected["trials"] == {
        "running": 0,
        "interrupted": 1,
        "paused": 0,
        "complete": 1,
        "pruned": 0,
        "fail": 1,
    }
    assert expected["best"]["trial"] == 2
    assert expected["failures"] == [{"trial": 1, "reason": "diverged: loss is nan"}]
    assert main(["status", "mine", "--logs-dir", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "0.5000" in out
    assert re.search(r"^ *2 +interrupted +0\.7000 ", out, re.MULTILINE)
    assert "So far: best val/match@01 0.7000 in trial 2\n" in out
    assert "Compare runs:  mlflow ui --backend-store-uri sqlite:///" in out
    assert (folder / STUDY_FILE).read_bytes() == before
    assert main(["status", "other", "--logs-dir", str(tmp_path)]) == 2
    assert "Error: status NAME: there is no search at" in capsys.readouterr().err


def test_the_best_so_far_may_wait_and_has_not_failed(folder: Path) -> None:
    study = Study.read(folder / STUDY_FILE)
    study.report(1, {"pairs_seen": 400, "val/match@01": 0.9}, "val/match@01")
    study.finish(2, "PAUSED")
    status = read_status(folder)
    assert status.to_json()["best"]["trial"] == 2
    rows = status.to_table().columns
    assert [list(rows[0].cells), list(rows[1].cells)] == [["2", "0"], ["paused", "complete"]]


def test_trials_beyond_the_table_are_counted(folder: Path) -> None:
    study = Study.read(folder / STUDY_FILE)
    assert read_status(folder).to_table().caption is None
    for value in range(5, 10):
        number = study.add({"learn_rate": 1e-3, "batch_size": 64}).number
        study.report(number, {"pairs_seen": 100, "val/match@01": value / 100}, "val/match@01")
        study.finish(number, "PRUNED")
    view = read_status(folder).to_table()
    assert (view.row_count, view.caption) == (6, "1 more trial: python -m themo report mine")


def test_a_search_may_be_given_by_its_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["search"] == "mine"


def test_rows_stay_narrow_in_a_pipe_and_lose_no_setting(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    study = Study.read(folder / STUDY_FILE)
    settings = {f"a_setting_{i}": f"value-{i}" for i in range(14)} | {"corpus": "x" * 150}
    study.add(settings)
    study.save()
    assert main(["status", "mine", "--logs-dir", str(tmp_path)]) == 0
    table = capsys.readouterr().out.partition("pairs   settings")[2].partition("Compare runs")[0]
    assert max(map(len, table.splitlines())) <= 110
    for name, value in list(settings.items())[:-1]:
        assert f"{name}={value}" in table
    assert table.count("x") >= 150


def test_a_lost_record_is_not_a_search_not_begun(folder: Path) -> None:
    (folder / STUDY_FILE).unlink()
    assert read_status(folder).activity == "not begun"
    (folder / PAIRS_FILE).write_text("{}")
    with pytest.raises(InputError, match=r"study\.json: is missing, though the search has started: restore"):
        read_status(folder)


def test_a_damaged_record(folder: Path) -> None:
    (folder / STUDY_FILE).write_text("{")
    with pytest.raises(InputError, match=r"study\.json: has no valid study"):
        read_status(folder)


def test_a_status_needs_no_models() -> None:
    """`status` is often called beside a running search, so it must start fast."""
    script = "import sys, tune.results.status; assert not {'torch', 'transformers', 'ray'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
