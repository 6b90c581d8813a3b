"""Refusals of `python -m themo tune` before it books a worker."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from formula_search import TREE, a_search, settings_in

from themo import __version__
from themo.cli.main import main
from themo.config.settings import Settings
from themo.errors import InputError
from themo.process.output import typed
from themo.tracking.runs import Tracking
from tune.cluster.connection import ClusterError
from tune.cluster.resources import Resources
from tune.confirmation.plan import Unconfirmed
from tune.driver.conclusion import Conclusion, _registered, _tested
from tune.driver.outcome import TimeIsUpError
from tune.results.best_trials import SearchResult
from tune.study.naming import STUDY_FILE
from tune.study.search import Search, alone, read_search
from tune.study.study import Study
from tune.study.trial_record import State


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    a_search(tmp_path / "logs", "old", Resources(max_concurrent=1))
    return tmp_path / "logs"


MAY_BE_GIVEN = (
    "--num-samples, --stop-after-no-gain, --stop-gain, --stop-chance, --confirm, --time-budget, --logs-dir, "
    "--address, --max-concurrent, --register and its own --space may be given with it"
)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--resume", "old", "--learn-rate", "1e-3", "--storage-path", "share", "--repeat", "old"],
            "--resume keeps the settings of the search: leave out --repeat, --storage-path, "
            f"--learn-rate; {MAY_BE_GIVEN}",
        ),
        (
            ["--repeat", "old", "--preset", "miniature", "--warm-start", "old"],
            "--repeat copies settings and space of the named search: leave out --preset, --warm-start",
        ),
        (["--repeat", "none"], "--repeat: there is no search at .*/tune/none: search.yaml is missing"),
        (["--resume", "none"], "--resume: there is no search at .*/tune/none: search.yaml is missing"),
        (
            ["--warm-start", "none"],
            "--warm-start: there is no search at .*/tune/none: search.yaml is missing",
        ),
        (["--resume", "../x"], "--resume must be letters, digits, .*, got '../x'"),
        (["--resume", "a" * 300], "--resume must have at most 255 characters, got 300$"),
        (["--warm-start", "a" * 300], "--warm-start must have at most 255 characters, got 300$"),
        (["--name", ""], "--name must be letters, digits, '.', '_' and '-', got ''$"),
        (
            ["--resume", "/logs/tune/old"],
            "--resume must be .*, got '/logs/tune/old': give only the last part of the path, old$",
        ),
        (["--repeat", "../x"], "--repeat must be letters, digits, .*, got '../x'"),
        (
            ["--name", "old"],
            "--name: a search 'old' exists at .*/tune/old: choose another name, or --resume old",
        ),
        (
            ["--stop-after-no-gain", "0"],
            "--stop-after-no-gain: must be off or a whole number above 0, got '0'",
        ),
        (["--stop-gain", "0"], "--stop-gain: must be off or a number above 0, got '0'"),
        (["--stop-gain", "inf"], "--stop-gain: must be off or a number above 0, got 'inf'"),
        (["--stop-chance", "1"], "--stop-chance: must be a chance above 0 and below 1, got '1'"),
        (["--stop-chance", "none"], "--stop-chance: must be a chance above 0 and below 1, got 'none'"),
        (
            ["--stop-chance", "0.1"],
            r"--stop-chance: needs stop_gain \(--stop-gain 0.01\): stop_chance is .* gain, got 0.1",
        ),
        (
            ["--stop-gain", "off", "--stop-chance", "0.1"],
            r"--stop-chance: needs stop_gain \(--stop-gain 0.01\): stop_chance is .* gain, got 0.1",
        ),
        (["--confirm-seeds", "1"], "--confirm-seeds: must be greater than or equal to 2, got 1"),
        (["--confirm", "on"], "--confirm: must be off or a share above 0, got 'on'"),
        (["--confirm", "0"], "--confirm: must be off or a share above 0, got '0'"),
        (
            ["--resume", "old", "--confirm-seeds", "3"],
            f"--resume keeps the settings of the search: leave out --confirm-seeds; {MAY_BE_GIVEN}",
        ),
        (["--time-budget", "0"], "--time-budget: must be a time such as 2h30m, 45m or 90s, got '0'"),
        (
            ["--storage-path", "what://x"],
            "--storage-path must be a folder or a URI such as .*, got 'what://x': ",
        ),
        (
            ["--gpus-per-trial", "many"],
            "--gpus-per-trial: must be a number of at least 0, or auto, got 'many'",
        ),
        (["--gpus-per-trial", "1.5"], "--gpus-per-trial must be a whole number above 1, got 1.5"),
        (["--register", "a/b"], "--register must be letters, digits, spaces and . _ -, got 'a/b'"),
        (["--resume", "old", "--num-samples", "0"], "--num-samples: must be a whole number above 0, got '0'"),
    ],
)
def test_refusals(logs: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str) -> None:
    before = sorted(logs.rglob("*"))
    assert main(["tune", "--logs-dir", str(logs), *options]) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert captured.out == ""

    assert re.match(rf"Error: (argument )?{message}", line), line
    assert sorted(logs.rglob("*")) == before


def test_a_search_begun_by_another_version_is_refused(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = logs / "tune" / "old" / "search.yaml"
    tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump(tree | {"themo": "0.0.1"}), encoding="utf-8")
    assert main(["tune", "--resume", "old", "--logs-dir", str(logs)]) == 2
    printed = f"{path}: was started by themo 0.0.1, this is {__version__}: resume it with themo 0.0.1"
    assert capsys.readouterr().err == f"Error: {printed}\n"


def test_resuming_with_another_space_is_refused(
    logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "other.yaml"
    tree = {
        "space": TREE["space"] | {"learn_rate": {"log_uniform": [1e-5, 1e-1]}},
        "first": TREE["first"][1:],
        "search": TREE["search"] | {"grace_pairs": 200, "num_samples": 9},
    }
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    before = sorted(logs.rglob("*"))
    assert main(["tune", "--resume", "old", "--space", str(path), "--logs-dir", str(logs)]) == 2
    assert capsys.readouterr().err == (
        f"Error: --space {path}: must be the space of old, space.learn_rate, "
        "search.grace_pairs, first differ: start a new search with --warm-start old\n"
    )
    assert sorted(logs.rglob("*")) == before


HOLDER = """
import sys
from pathlib import Path
from tune.study.search import alone

with alone(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("more", [[], ["--num-samples", "20"]], ids=["gone on with", "grown"])
def test_a_search_that_another_process_runs_is_refused(
    logs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, more: list[str]
) -> None:
    monkeypatch.setattr("tune.driver.session.connect", lambda *_: pytest.fail("a cluster was looked for"))
    folder = logs / "tune" / "old"
    kept = (folder / "search.yaml").read_bytes()
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as driver:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "held\n"
        assert main(["tune", "--resume", "old", "--logs-dir", str(logs), *more]) == 2
        assert driver.poll() is None
        driver.communicate("")
    *before, line = capsys.readouterr().err.splitlines()
    assert line == f"Error: --resume: another process runs the search at {folder}"
    assert not any("To resume: " in other for other in before)
    assert (folder / "search.yaml").read_bytes() == kept


def test_a_submitted_job_uses_its_cluster_by_default(
    logs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    for options, message in (
        ([], "--address: no Ray cluster answers at 127.0.0.1:1: Connection refused"),
        (["--address", "local"], "--name: a search 'old' exists"),
    ):
        assert main(["tune", "--logs-dir", str(logs), "--name", "old", *options]) == 2
        assert capsys.readouterr().err.startswith(f"Error: {message}")


def test_a_dead_address_is_refused_before_heavy_imports() -> None:
    script = """
import sys
from themo.cli.main import main
code = main(["tune", "--address", "127.0.0.1:1"])
print(code, sorted({"torch", "ray", "mlflow", "transformers", "optuna", "pyarrow"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == "Error: --address: no Ray cluster answers at 127.0.0.1:1: Connection refused\n"
    assert done.stdout == "2 []\n"


class NoGpus:
    """The part of a cluster that `tune` needs."""

    dashboard = None

    def machines(self) -> dict[str, dict[str, float]]:
        return {"one": {"CPU": 2.0}}


@pytest.mark.slow  # MLflow takes seconds to begin
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")  # of mlflow
def test_too_many_gpus_are_refused_early_and_free_the_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tune.driver.session.connect", lambda *_: nullcontext(NoGpus()))
    monkeypatch.setattr(
        "themo.data.preparation.prepare_data", lambda *_, **__: pytest.fail("data was prepared")
    )
    options = ["--name", "big", "--gpus-per-trial", "16", "--logs-dir", str(tmp_path)]
    assert main(["tune", *options]) == 2
    *_, line = capsys.readouterr().err.splitlines()
    assert line.startswith("Error: --gpus-per-trial must be at most 0, ")
    assert not (tmp_path / "tune" / "big").exists()


def test_a_new_search_whose_time_is_up_can_be_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_search(search: Search, *_: object, **__: object) -> None:
        Study(search.folder / STUDY_FILE, search.mode).save()
        raise TimeIsUpError("--time-budget: time is up: continue with --resume new")

    monkeypatch.setattr("tune.driver.session.run_search", run_search)
    words = ["tune", "--name", "new", "--time-budget", "1s", "--logs-dir", str(tmp_path), "--device", "cpu"]
    assert main(words) == 2
    assert "Error: --time-budget: time is up: continue with --resume new\n" in capsys.readouterr().err
    assert read_search(tmp_path / "tune" / "new").name == "new"


def test_an_unwritable_storage_is_refused_and_frees_the_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tune.driver.session.connect", lambda *_: nullcontext(NoGpus()))
    tracking = SimpleNamespace(experiment_id="1")
    monkeypatch.setattr("tune.driver.session.Tracking", lambda *_, **__: nullcontext(tracking))
    monkeypatch.setattr(
        "themo.data.preparation.prepare_data", lambda *_, **__: pytest.fail("data was prepared")
    )
    (tmp_path / "file").touch()
    share = tmp_path / "file" / "share"  # nobody, root neither, may make it
    words = ["tune", "--name", "new", "--storage-path", str(share), "--logs-dir", str(tmp_path)]
    assert main([*words, "--device", "cpu"]) == 2
    *_, line = capsys.readouterr().err.splitlines()
    assert re.match(
        f"Error: --storage-path {share}/new-[0-9a-f]{{16}}: cannot be written: .*Not a directory", line
    )
    assert not (tmp_path / "tune" / "new").exists()


def _fail() -> None:
    raise ClusterError("Ray: the head is gone")


@pytest.mark.parametrize(
    "error", [InputError("no images"), torch.OutOfMemoryError("no images\nleft"), OSError("no images")]
)
def test_a_result_is_printed_even_if_its_test_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    tree = {"benchmarks": {"captions": "c", "images": "i"}}
    settings = settings_in(tmp_path).model_dump(mode="json", exclude_unset=True) | tree
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("tune.driver.conclusion.score_and_record", fail)
    assert _tested(tmp_path) is None
    assert capsys.readouterr().err == "Not tested: no images\n"


def test_without_a_server_the_winner_is_still_tested(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = {"benchmarks": {"captions": "c", "images": "i"}}
    settings = settings_in(tmp_path).model_dump(mode="json", exclude_unset=True) | tree
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    scores = SimpleNamespace(to_metrics=dict, to_table=lambda: "a table")
    tested = SimpleNamespace(scores=scores, student=None, to_dict=lambda: {"n": {"xtd10": 1}})
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setattr("themo.evaluation.encoders.examine", lambda *_, **__: tested)
    close = Tracking.close

    def press_ctrl_c_while_it_waits(tracking: Tracking) -> bool:
        close(tracking, 0.0, warn=False)
        raise KeyboardInterrupt

    monkeypatch.setattr(Tracking, "close", press_ctrl_c_while_it_waits)
    with pytest.raises(KeyboardInterrupt):
        _tested(tmp_path)
    assert "Not tested" not in capsys.readouterr().err
    assert _tested(tmp_path) == (tested.to_dict(), f"Tested before: {tmp_path / 'test.json'}")


def test_a_winner_that_is_not_registered_ends_in_a_line(tmp_path: Path) -> None:
    search = a_search(tmp_path, "old", Resources())
    registered, reason = _registered(search, search.folder / "best", "es")
    assert registered is None
    place = search.folder / "tracking.json"
    assert reason == f"--register: {place}: no such file; `tune --resume old` writes it"
    with pytest.raises(InputError) as refusal:
        Conclusion(unregistered=reason).refuse_unregistered("tune --resume old --register es")
    again = "the search is done; to register its winner: tune --resume old --register es"
    assert str(refusal.value) == f"{reason}; {again}"
    Conclusion().refuse_unregistered("")


def _a_result(logs: Path) -> SearchResult:
    """The result of a search `old` whose time was up after its first trial; the winner is tested."""
    search, folder = a_search(logs, "old", Resources()), logs / "tune" / "old"
    study = Study(folder / "study.json", "max")
    study.add({})
    study.report(0, {"pairs_seen": 1, search.objective: 0.5}, search.objective)
    study.finish(0, "COMPLETE")
    (folder / "best").mkdir()
    (folder / "best" / "test.json").write_text(json.dumps({"n": {}}))
    best, counts = study[0], study.counts()
    return SearchResult(folder, search.objective, "max", counts, best, 1, 1.0, 1.0, (best,), 2, False)


@pytest.mark.parametrize(
    ("end", "code", "said"),
    [
        (lambda: None, 0, "Report:"),
        (lambda: signal.default_int_handler(signal.SIGINT, None), 130, "Interrupted. To resume:"),
        (lambda: signal.raise_signal(signal.SIGTERM), 143, "Terminated. To resume:"),
        (lambda: signal.raise_signal(signal.SIGHUP), 129, "The terminal was closed. To resume:"),
        (_fail, 1, "Failed: Ray: the head is gone. To resume:"),
    ],
    ids=["done", "interrupted", "terminated", "hung up", "without its cluster"],
)
def test_printed_commands_can_be_typed(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    end: Callable[[], object],
    code: int,
    said: str,
) -> None:
    logs = tmp_path / "my logs"
    folder, result = logs / "tune" / "old", _a_result(logs)

    def run_search(*_: object, resume_command: str, **__: object) -> SearchResult:
        assert resume_command == go_on
        capsys.readouterr()
        end()
        return result

    monkeypatch.setattr("tune.driver.session.run_search", run_search)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # Ray Tune, used by another test, leaves its own
    go_on = f"python -m themo tune --resume old --logs-dir '{logs}'"
    assert main(["tune", "--resume", "old", "--logs-dir", str(logs)]) == code
    printed = capsys.readouterr().err
    assert said in printed
    if code:
        assert printed == f"{said} {go_on}\n"
        return
    assert go_on in printed
    assert f"python -m themo train --config '{folder}/best.yaml'\n" in printed
    assert f"python -m themo test --version-path '{folder}/best' --baseline\n" in printed
    assert f"mlflow ui --backend-store-uri 'sqlite:///{logs}/mlflow.db'\n" in printed


def test_the_command_that_confirms_a_winner_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    too_dear = replace(_a_result(tmp_path), is_whole=True, unconfirmed=Unconfirmed("seeds are dear", 0.72))
    monkeypatch.setattr("tune.driver.session.run_search", lambda *_, **__: too_dear)
    assert main(["tune", "--resume", "old", "--logs-dir", str(tmp_path)]) == 0
    lines = capsys.readouterr().err.splitlines()
    at = lines.index("Not confirmed: seeds are dear")
    resume = f"python -m themo tune --resume old --logs-dir {tmp_path}"
    assert lines[at + 1] == f"Confirm it:    {resume} --confirm 0.72"
    stopped = replace(too_dear, unconfirmed=Unconfirmed("the winner was stopped early"))
    monkeypatch.setattr("tune.driver.session.run_search", lambda *_, **__: stopped)
    assert main(["tune", "--resume", "old", "--logs-dir", str(tmp_path)]) == 0
    assert "Confirm it" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("state", "reason", "label"),
    [
        ("COMPLETE", "", "Reproduce it:  "),
        ("COMPLETE", "its 60 s ended at 61.5 s of training (1 pairs)", "Train in full: "),
        ("RUNNING", "", "Train in full: "),
        ("PRUNED", "stopped at 1 pairs", "Train in full: "),
    ],
)
def test_a_cut_winner_has_a_command_to_train_it_in_full(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    state: State,
    reason: str,
    label: str,
) -> None:
    result = _a_result(tmp_path)
    result.best.state, result.best.reason = state, reason
    monkeypatch.setattr("tune.driver.session.run_search", lambda *_, **__: result)
    assert main(["tune", "--resume", "old", "--logs-dir", str(tmp_path)]) == 0
    command = f"python -m themo train --config {tmp_path}/tune/old/best.yaml"
    assert f"{label}{command}" in capsys.readouterr().err.splitlines()


def test_a_resumed_search_tests_its_winner(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    result = _a_result(tmp_path)
    monkeypatch.setattr("tune.driver.session.run_search", lambda *_, **__: result)
    monkeypatch.setattr("tune.driver.conclusion._tested", lambda _: pytest.fail("it was tested"))
    with alone(result.folder):
        assert main(["tune", "--resume", "old", "--logs-dir", str(tmp_path)]) == 0
    printed = capsys.readouterr().err
    reason = f"--resume: another process runs the search at {result.folder}"
    assert f"Not tested, and no report written: {reason}\n" in printed
    assert "Report:" not in printed
    assert "Reproduce it" in printed


def test_no_resume_while_the_winner_is_tested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = _a_result(tmp_path)
    refused = []

    def grow_meanwhile(_: Path) -> None:
        with (
            pytest.raises(InputError, match="another process runs the search") as refusal,
            alone(result.folder),
        ):
            pass
        refused.append(refusal)

    monkeypatch.setattr("tune.driver.session.run_search", lambda *_, **__: result)
    monkeypatch.setattr("tune.driver.conclusion._tested", grow_meanwhile)
    assert main(["tune", "--resume", "old", "--logs-dir", str(tmp_path)]) == 0
    assert refused


def _press_ctrl_c(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_the_given_machines_are_named_again_for_the_resume(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _a_result(tmp_path)
    monkeypatch.setattr("tune.driver.session.run_search", _press_ctrl_c)
    given = ["--logs-dir", str(tmp_path), "--address", "local", "--max-concurrent", "1"]
    assert main(["tune", "--resume", "old", *given]) == 130
    *_, last = capsys.readouterr().err.splitlines()
    assert last == f"Interrupted. To resume: {typed('tune', '--resume', 'old', *given)}"


@pytest.mark.parametrize(
    "step",
    [
        "tune.driver.conclusion._tested",
        "tune.results.report.page.write_report",
        "tune.driver.closing_lines.print_result",
        "tune.driver.closing_lines.comparison_of",
    ],
)
def test_ctrl_c_after_a_search_names_the_command_for_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    result = _a_result(tmp_path)
    monkeypatch.setattr("tune.driver.session.run_search", lambda *_, **__: result)
    monkeypatch.setattr(step, _press_ctrl_c)
    assert main(["tune", "--resume", "old", "--logs-dir", str(tmp_path)]) == 130
    *_, last = capsys.readouterr().err.splitlines()
    go_on = f"python -m themo tune --resume old --logs-dir {tmp_path}"
    assert last == f"Interrupted. To resume: {go_on}"


@pytest.mark.parametrize("is_begun", [False, True])
def test_a_search_killed_before_its_data_starts_on_resume(
    logs: Path, monkeypatch: pytest.MonkeyPatch, is_begun: bool
) -> None:
    """Else it would train on the captions of tests, and with ends of ranges that no trial can have."""
    if is_begun:
        Study(logs / "tune" / "old" / STUDY_FILE, "max").save()
        (logs / "tune" / "old" / "pairs.json").write_text("{}")
    done: list[str] = []
    steps = {
        "captions": "themo.data.test_files.fetch_captions",
        "data": "themo.data.preparation.prepare_data",
        "ends": "tune.driver.range_ends.refuse_unfit_ends",
    }
    for name, step in steps.items():
        monkeypatch.setattr(step, lambda *_, _name=name, **__: done.append(_name))

    def run_search(search: Search, prepare: Callable[[Settings], None], **_: object) -> None:
        prepare(search.settings)
        raise KeyboardInterrupt

    monkeypatch.setattr("tune.driver.session.run_search", run_search)
    assert main(["tune", "--resume", "old", "--logs-dir", str(logs)]) == 130
    assert done == (["data"] if is_begun else ["captions", "data", "ends"])
