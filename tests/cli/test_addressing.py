"""Every command finds a version by its path, by its search's name, or takes the newest and names it."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny import SettingsFactory, write_version_of

from themo.checkpoints.versions import add_to_summary, read_summary, training_lock
from themo.cli.addressing import find_newest_run, find_run, find_version, sees_images
from themo.cli.main import main
from themo.config.settings import Settings
from themo.errors import InputError
from themo.evaluation.scores import Scores

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def logs(tmp_path: Path, tiny_settings: Settings) -> Path:
    """A finished version, a newer one of a running run, and a search whose best version is the oldest."""
    logs = tmp_path / "logs"
    for age, (name, state) in enumerate(
        [("tiny/version_1", "running"), ("tiny/version_0", "finished"), ("tune/mine/best", "finished")]
    ):
        version = write_version_of(tiny_settings, logs / name, dimension=12)
        summary = {
            "state": state,
            "best": {"val/match@01": 0.5},
            "last": {"epoch": 2.0, "pairs_seen": 1200.0},
        }
        (version / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
        os.utime(version / "student", (1000 - age, 1000 - age))
    (logs / "tune" / "mine" / "search.yaml").write_text("name: mine\n", encoding="utf-8")
    return logs


Find = Callable[[str | Path | None], Path]


@pytest.fixture
def find(logs: Path) -> Find:
    return lambda given: find_version(
        None if given is None else Path(given), {"logs_dir": str(logs)}, "to test", sees_images
    )


def test_a_version_path_is_taken_as_it_is(find: Find, logs: Path, capsys: Capture) -> None:
    assert find(logs / "tiny/version_0") == logs / "tiny/version_0"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("by_path", [False, True])
def test_a_search_gives_its_best_version(find: Find, logs: Path, capsys: Capture, by_path: bool) -> None:
    assert find(logs / "tune/mine" if by_path else "mine") == logs / "tune/mine/best"
    assert capsys.readouterr().err == f"Version: {logs}/tune/mine/best, the best of this search\n"


def test_nothing_given_takes_the_newest_and_names_it(find: Find, logs: Path, capsys: Capture) -> None:
    assert find(None) == logs / "tiny/version_1"
    expected = f"Version: {logs}/tiny/version_1, the newest (--version-path selects another)\n"
    assert capsys.readouterr().err == expected


def test_the_name_of_an_experiment_lists_its_versions(find: Find, logs: Path, capsys: Capture) -> None:
    versions = f"; its versions: {logs}/tiny/version_1, {logs}/tiny/version_0"
    for command in ("status", "report"):
        assert main([command, "tiny", "--logs-dir", str(logs)]) == 2
        assert capsys.readouterr().err == f"Error: tiny: is not a search{versions}\n"
    with pytest.raises(InputError, match=rf"tune has no search of this name{versions}$"):
        find("tiny")


def test_a_folder_of_the_same_name_goes_before_the_search(
    logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    assert find_run(Path("mine"), logs) == logs / "tune" / "mine", "an empty folder is no version"
    (tmp_path / "mine" / "config.yaml").touch()
    assert find_run(Path("mine"), logs) == Path("mine")


@pytest.mark.parametrize("command", [["status"], ["report"], ["why"]])
def test_a_name_too_long_for_a_folder_is_refused(logs: Path, command: list[str], capsys: Capture) -> None:
    trial = ["0"] if command == ["why"] else []
    assert main([*command, "a" * 300, *trial, "--logs-dir", str(logs)]) == 2
    expected = f"Error: {command[0]} NAME must have at most 255 characters, got 300\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize("given", ["a" * 300, f"{'a' * 300}/x", f"x/{'a' * 300}"])
def test_a_path_too_long_for_a_file_is_absent(find: Find, given: str) -> None:
    with pytest.raises(InputError, match=r": must be a version directory, but does not exist"):
        find(given)


def test_a_folder_of_neither_version_nor_search_is_refused(find: Find, logs: Path) -> None:
    with pytest.raises(InputError, match=r"^nosuch/x: must be a version directory, but does not exist$"):
        find("nosuch/x")
    with pytest.raises(InputError, match=r"tune has no search of this name \(did you mean 'mine'\?\)$"):
        find("mime")


def test_a_search_without_a_best_version_names_its_best_trials(
    find: Find, logs: Path, tiny_settings: Settings
) -> None:
    shutil.rmtree(logs / "tune/mine/best")
    must = "mine: must be a search that has ended, for its best version"
    trials = logs / "tune/mine/trials"
    with pytest.raises(InputError, match=rf"^{must}; {trials} has no version to test yet$"):
        find("mine")
    for number, state, value in [(0, "finished", 0.4), (1, "running", 0.6), (2, "running", 0.5)]:
        version = trials / f"session-1/trial-{number:04d}/checkpoint_000000"
        write_version_of(tiny_settings, version, dimension=12)
        summary = json.dumps({"state": state, "best": {"val/match@01": value}})
        (version / "summary.json").write_text(summary, encoding="utf-8")
    (trials / "session-1/trial-0003/checkpoint_000000/student").mkdir(parents=True)  # a kill left it
    best = trials / "session-1/trial-0001/checkpoint_000000"
    with pytest.raises(InputError, match=rf"^{must}; its best trial so far: {best}$"):
        find("mine")
    assert find(best) == best
    with pytest.raises(InputError, match=r"; its best trial so far: .*/trial-0000/checkpoint_000000$"):
        find_version(Path("mine"), {"logs_dir": str(logs)}, "to export", is_finished)


def test_trials_in_a_storage_are_named(
    find: Find, logs: Path, tiny_settings: Settings, tmp_path: Path
) -> None:
    shutil.rmtree(logs / "tune/mine/best")
    definition = logs / "tune/mine/search.yaml"

    def store(place: str) -> None:
        text = f"name: mine\nuid: u1\nresources:\n  storage_path: {place}\n"
        definition.write_text(text, encoding="utf-8")

    store(str(tmp_path / "store"))
    trials = tmp_path / "store/mine-u1"
    with pytest.raises(InputError, match=f"; {trials} has no version to test yet$"):
        find("mine")
    version = trials / "session-1/trial-0000/checkpoint_000000"
    write_version_of(tiny_settings, version, dimension=12)
    (version / "summary.json").write_text('{"best": {"val/match@01": 0.5}}', encoding="utf-8")
    with pytest.raises(InputError, match=f"; its best trial so far: {version}$"):
        find("mine")
    store("s3://bucket/folder")
    with pytest.raises(InputError, match=r"; the versions of its trials are at s3://bucket/folder$"):
        find("mine")


def is_finished(version: Path, _settings: Settings) -> bool:
    return bool(read_summary(version)["state"] == "finished")


def test_logs_without_a_version_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="none must contain a version to test, but has none; create one with"
    ):
        find_version(None, {"logs_dir": str(tmp_path / "none")}, "to test", sees_images)


def test_the_newest_passes_over_damaged_and_unfit_versions(
    find: Find, logs: Path, settings: SettingsFactory, tmp_path: Path
) -> None:
    (logs / "tiny/version_1/config.yaml").write_text("a: [", encoding="utf-8")
    assert find(None) == logs / "tiny/version_0"
    own = settings(targets=str(tmp_path / "own.npy"))
    (logs / "tiny/version_0/config.yaml").write_text(own.to_yaml(), encoding="utf-8")
    assert find(None) == logs / "tune/mine/best"


# --- the commands ---


@pytest.fixture
def tested(monkeypatch: pytest.MonkeyPatch) -> list[Path | None]:
    """Versions that `test` would have scored."""
    asked: list[Path | None] = []

    def score(_settings: Settings, version: Path | None, *_: object, **__: object) -> object:
        asked.append(version)
        raise KeyboardInterrupt

    monkeypatch.setattr("themo.cli.commands.test.score_and_record", score)
    monkeypatch.setattr("themo.evaluation.recording.score_and_record", score)
    monkeypatch.setattr("themo.evaluation.test_data.refuse_missing_test_data", lambda *_: None)
    return asked


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], "tiny/version_1"),
        (["--report"], "tiny/version_1"),
        (["--version-path", "mine", "--baseline"], "tune/mine/best"),
        (["mine", "--baseline"], "tune/mine/best"),
        (["--experiment", "tiny"], "tiny/version_1"),
        (["--baseline"], None),
    ],
)
def test_test_finds_its_version(
    logs: Path, tested: list[Path | None], options: list[str], expected: str | None
) -> None:
    assert main(["test", *options, "--logs-dir", str(logs)]) == 130
    assert tested == [logs / expected if expected else None]


def test_a_preset_is_for_baselines_alone(logs: Path, capsys: Capture) -> None:
    assert main(["test", "--preset", "miniature", "--logs-dir", str(logs)]) == 2
    assert "--preset and --config are for --baseline without a version" in capsys.readouterr().err


def test_export_takes_the_newest_finished_version(logs: Path, tmp_path: Path, capsys: Capture) -> None:
    into = ["export", "--format", "transformers", "--logs-dir", str(logs), "--output"]
    assert main([*into, str(tmp_path / "a")]) == 0
    assert f"Version: {logs}/tiny/version_0, the newest" in capsys.readouterr().err
    assert main([*into, str(tmp_path / "b"), "--version-path", "mine"]) == 0
    assert f"Version: {logs}/tune/mine/best, the best of this search" in capsys.readouterr().err


def test_the_argument_and_the_option_are_the_same(logs: Path, tmp_path: Path, capsys: Capture) -> None:
    into = ["export", "mine", "--format", "transformers", "--logs-dir", str(logs), "--output"]
    assert main([*into, str(tmp_path / "a")]) == 0
    assert f"Version: {logs}/tune/mine/best, the best of this search" in capsys.readouterr().err
    version = str(logs / "tiny/version_0")
    assert main(["status", "--version-path", version]) == 0
    by_option = capsys.readouterr().out
    assert main(["status", version]) == 0
    assert capsys.readouterr().out == by_option


@pytest.mark.parametrize("command", ["test", "export", "status", "report"])
def test_argument_and_option_together_are_refused(command: str, logs: Path, capsys: Capture) -> None:
    format_and_output = ["--format", "onnx", "--output", "x"] if command == "export" else []
    given = [command, "mine", "--version-path", "other", "--logs-dir", str(logs), *format_and_output]
    assert main(given) == 2
    expected = f"Error: {command}: NAME and --version-path cannot be combined, got 'mine' and 'other'\n"
    assert capsys.readouterr().err == expected


def test_status_and_report_take_the_newest_of_both_kinds(
    logs: Path, tested: list[Path | None], capsys: Capture
) -> None:
    (logs / "tune/mine/search.yaml").write_text("{}", encoding="utf-8")
    os.utime(logs / "tune/mine/search.yaml", (2000, 2000))
    assert find_newest_run(logs, "status") == logs / "tune/mine"
    assert capsys.readouterr().err == "Search: mine, the newest (status NAME shows another)\n"
    os.utime(logs / "tune/mine/search.yaml", (500, 500))
    (logs / "tune/mine/study.json").touch()  # a report
    assert find_newest_run(logs, "status") == logs / "tune/mine"
    (logs / "tune/mine/study.json").unlink()
    assert main(["report", "--logs-dir", str(logs)]) == 130
    assert tested == [logs / "tiny/version_1"]
    said = f"Version: {logs}/tiny/version_1, the newest (report NAME shows another)"
    assert said in capsys.readouterr().err.splitlines()


def test_status_without_a_search_shows_the_newest_version(logs: Path, capsys: Capture) -> None:
    (logs / "tune/mine/search.yaml").unlink()
    assert main(["status", "--logs-dir", str(logs)]) == 0
    out, err = capsys.readouterr()
    assert err == f"Version: {logs}/tiny/version_1, the newest (status NAME shows another)\n"
    assert out.splitlines()[0].startswith("There is no search in ")
    assert out.splitlines()[1] == f"Version {logs}/tiny/version_1 (interrupted): 2.00 epochs, 1,200 pairs"
    assert main(["status", "--logs-dir", str(logs), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["newest"]["version"] == f"{logs}/tiny/version_1"


def test_report_of_a_version_tests_it(logs: Path, tested: list[Path | None]) -> None:
    assert main(["report", str(logs / "tiny/version_0")]) == 130
    assert tested == [logs / "tiny/version_0"]


@pytest.mark.parametrize("command", ["status", "report"])
def test_a_missing_path_names_its_neighbours(command: str, logs: Path, capsys: Capture) -> None:
    wrong = logs / "tiny" / "version_7"
    assert main([command, str(wrong), "--logs-dir", str(logs)]) == 2
    assert capsys.readouterr().err == (
        f"Error: {wrong}: is neither a version nor a search; known runs: version_0, version_1\n"
    )


def test_status_of_a_version(logs: Path, capsys: Capture) -> None:
    running, finished = logs / "tiny/version_1", logs / "tiny/version_0"
    with training_lock(running):
        assert main(["status", str(running)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"Version {running} (running): 2.00 epochs, 1,200 pairs",
        "Best:          val/match@01 0.5000",
        f"If killed: python -m themo train --resume {running}",
    ]
    assert main(["status", str(running)]) == 0, "killed since"
    assert capsys.readouterr().out.splitlines() == [
        f"Version {running} (interrupted): 2.00 epochs, 1,200 pairs",
        "Best:          val/match@01 0.5000",
        f"To resume:     python -m themo train --resume {running}",
    ]
    assert main(["status", str(finished)]) == 0
    assert f"Test it:       python -m themo test --version-path {finished}\n" in capsys.readouterr().out


def test_status_of_a_failed_version_advises_no_resume(logs: Path, capsys: Capture) -> None:
    failed = logs / "tiny/version_1"
    add_to_summary(failed, ended="FAILED")
    with training_lock(failed):  # a resume, before its first report
        assert main(["status", str(failed)]) == 0
    assert capsys.readouterr().out.startswith(f"Version {failed} (running): ")
    assert main(["status", str(failed)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"Version {failed} (failed): 2.00 epochs, 1,200 pairs",
        "Best:          val/match@01 0.5000",
        f"Test it:       python -m themo test --version-path {failed}",
    ]
    assert main(["status", str(failed), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "failed"


def test_status_of_a_tested_version(logs: Path, capsys: Capture) -> None:
    import torch

    version = logs / "tiny/version_0"
    scores = Scores({"retrieval": {"student": torch.tensor([0, 0, 2, 30])}})
    (version / "test.json").write_text(json.dumps(scores.to_dict()), encoding="utf-8")
    assert main(["status", str(version)]) == 0
    out = capsys.readouterr().out
    assert "Test:          retrieval@01 0.500, retrieval@05 0.750, retrieval@10 0.750\n" in out
    assert "Test it:" not in out
    assert main(["status", str(version), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["version"], told["state"]) == (str(version), "finished")
    assert told["test"]["retrieval@01"] == 0.5
    (version / "summary.json").write_text("{", encoding="utf-8")
    assert main(["status", str(version)]) == 2
    assert "has no readable summary.json" in capsys.readouterr().err
