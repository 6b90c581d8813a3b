"""Searches from the options of `tune`; their refusals are in test_tune_command.py."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from formula_search import a_search, settings_in

from themo.cli.main import parse
from themo.config.settings import load
from themo.config.yaml_files import write_yaml
from themo.errors import InputError
from tune.cluster.resources import Resources
from tune.driver.request import begin, resume
from tune.driver.search_options import SearchOptions
from tune.space.search_space import from_tree
from tune.study.naming import STUDY_FILE
from tune.study.search import Search, new_search
from tune.study.study import Study


@pytest.fixture
def known(tmp_path: Path) -> Search:
    return a_search(tmp_path / "logs", "old", Resources(gpus_per_trial=1.0, by_memory=True, max_concurrent=3))


def asked(known: Search, *words: str) -> Search:
    options = SearchOptions.of(vars(parse(["tune", *words, "--logs-dir", known.settings.paths.logs_dir])))
    settings = load(options.config, options.preset, options.settings)
    return (begin if options.resume is None else resume)(options, settings)


def test_a_repeated_search_is_the_old_one_under_another_name(known: Search) -> None:
    again = asked(known, "--repeat", "old", "--name", "new")
    assert (again.space, again.settings, again.resources) == (known.space, known.settings, known.resources)
    assert again.name == "new"
    assert again.uid != known.uid


def test_a_search_that_shared_gpus_may_be_repeated_on_cpus(known: Search) -> None:
    resources = asked(known, "--repeat", "old", "--name", "new", "--device", "cpu").resources
    assert resources == Resources(gpus_per_trial=0.0, by_memory=False, max_concurrent=3)


@pytest.mark.parametrize(
    ("words", "threads"),
    [
        ([], 1),
        (["--cpus-per-trial", "4"], 4),
        (["--cpus-per-trial", "4", "--threads", "1"], 1),
        (["--cpus-per-trial", "4", "--threads", "2"], 2),
        (["--cpus-per-trial", "4", "--gpus-per-trial", "2"], 2),
    ],
)
def test_a_repeated_search_trains_with_its_own_share_of_cpus(
    known: Search, words: list[str], threads: int
) -> None:
    again = asked(known, "--repeat", "old", "--name", "new", *words)
    assert again.settings.training.threads == threads


def test_threads_that_were_no_share_are_repeated(known: Search) -> None:
    asked(known, "--repeat", "old", "--name", "odd", "--threads", "3")
    again = asked(known, "--repeat", "odd", "--name", "new", "--cpus-per-trial", "4")
    assert again.settings.training.threads == 3


@pytest.mark.parametrize(
    ("share", "gpus", "by_memory"), [("auto", 1.0, True), ("0.5", 0.5, False), ("2", 2.0, False)]
)
def test_the_share_of_a_gpu_that_is_asked_for(
    known: Search, share: str, gpus: float, by_memory: bool
) -> None:
    resources = asked(known, "--repeat", "old", "--name", "new", "--gpus-per-trial", share).resources
    assert (resources.gpus_per_trial, resources.by_memory) == (gpus, by_memory)


@pytest.mark.parametrize("place", ["local", "auto"])
def test_a_gpu_that_no_trial_gets_is_refused(known: Search, place: str) -> None:
    with pytest.raises(InputError, match=r"^--gpus-per-trial must be above 0, .* --device is cuda, got 0$"):
        asked(known, "--name", "new", "--device", "cuda", "--gpus-per-trial", "0", "--address", place)


def test_a_resumed_search_may_be_moved_and_grown(known: Search) -> None:
    more = asked(known, "--resume", "old", "--num-samples", "20", "--max-concurrent", "2")
    assert more.space.search.num_samples == 20
    assert more.resources == Resources(gpus_per_trial=1.0, by_memory=True, max_concurrent=2)
    assert more.uid == known.uid


def test_limits_that_a_search_has_reached_are_printed(
    known: Search, capsys: pytest.CaptureFixture[str]
) -> None:
    study = Study(known.folder / STUDY_FILE, known.mode)
    for value in (0.5, 0.4):
        number = study.add({}).number
        study.report(number, {"pairs_seen": 1, known.objective: value}, known.objective)
        if value == 0.5:
            study.finish(number, "COMPLETE")
    asked(known, "--resume", "old", "--num-samples", "2", "--time-budget", "90s", "--confirm", "off")
    reached = "has started 2 trials and has reached its limits: no further trial starts"
    assert capsys.readouterr().err == f"--num-samples 2: search old {reached}\n"
    study.finish(1, "COMPLETE")
    asked(known, "--resume", "old", "--stop-after-no-gain", "1", "--time-budget", "90s", "--confirm", "off")
    assert capsys.readouterr().err == (
        "--stop-after-no-gain 1, --confirm off, --time-budget 90s: search old is finished, with 2 trials: "
        "nothing to run\n"
    )
    asked(known, "--resume", "old", "--num-samples", "9", "--stop-after-no-gain", "off")
    assert capsys.readouterr().err == ""


def test_settings_outside_the_space_are_printed(known: Search, capsys: pytest.CaptureFixture[str]) -> None:
    search = asked(known, "--name", "new", "--batch-size", "999")
    assert "batch_size" not in search.space.first[0]
    told = "Settings outside the space, changed in trusted trials: batch_size 999\n"
    assert capsys.readouterr().err.endswith(told)
    asked(known, "--name", "newer")
    assert "Outside" not in capsys.readouterr().err


def test_a_repeat_whose_new_settings_contradict_is_refused(known: Search) -> None:
    with pytest.raises(
        InputError, match=r"^--repeat old with batch_size: .* got accumulate=64, batch_size=32"
    ):
        asked(known, "--repeat", "old", "--name", "new", "--accumulate", "64")
    assert not (known.folder.parent / "new").exists()


def test_a_recorded_search_with_contradictions_is_resumed(tmp_path: Path) -> None:
    """Some of its trials have failed; the others remain."""
    settings = settings_in(tmp_path)
    rules = {"batch_size": {"integer": [16, 64]}, "accumulate": {"integer": [1, 32]}}
    old = new_search("old", from_tree({"space": rules}, settings, "x.yaml"), settings, Resources())
    path = tmp_path / "space.yaml"
    path.write_text(write_yaml({"space": rules}), encoding="utf-8")
    assert asked(old, "--resume", "old").space == old.space
    assert asked(old, "--resume", "old", "--space", str(path)).space == old.space
    with pytest.raises(InputError, match=r"^--repeat old with batch_size, accumulate: "):
        asked(old, "--repeat", "old", "--name", "new")


def test_a_preset_brings_its_space(known: Search) -> None:
    search = asked(known, "--name", "new", "--preset", "vit-l-14-beto")
    assert search.space.search.grace_pairs == 200_000


def test_a_copy_of_a_search_is_not_taken_for_it(known: Search, tmp_path: Path) -> None:
    """A copied search would resume the original's checkpoints, as it has the original's name."""
    tune = tmp_path / "logs" / "tune"
    shutil.copytree(tune / "old", tune / "backup")
    options = parse(
        ["tune", "--resume", "backup", "--num-samples", "20", "--logs-dir", str(tmp_path / "logs")]
    )
    before = (tune / "old" / "search.yaml").read_bytes()
    with pytest.raises(
        InputError, match=r"^--resume: .*backup contains the search 'old': the directory must"
    ):
        resume(options, load(overrides=options.settings))
    assert (tune / "old" / "search.yaml").read_bytes() == before


@pytest.mark.parametrize("more", [[], ["--num-samples", "20"]])
def test_a_moved_search_resumes_in_its_new_folder(known: Search, tmp_path: Path, more: list[str]) -> None:
    (tmp_path / "logs").rename(tmp_path / "moved")
    options = parse(["tune", "--resume", "old", *more, "--logs-dir", str(tmp_path / "moved")])
    search = resume(options, load(overrides=options.settings))
    assert search.settings.paths.logs_dir == str(tmp_path / "moved")
    assert search.uid == known.uid
    assert not (tmp_path / "logs").exists()


def test_a_repeat_copies_the_proposals_of_a_warm_start(known: Search) -> None:
    """Another objective: the old trial's settings are tried first, without its score."""
    study = Study(known.folder / STUDY_FILE, known.mode)
    params = {"learn_rate": 2e-3, "batch_size": 64, "weight_decay": 0.2, "warmup_steps": 11}
    study.add(params)
    study.report(0, {"pairs_seen": 100.0, known.objective: 0.5}, known.objective)
    study.finish(0, "COMPLETE")
    words = ("--config", str(known.folder / "config.yaml"), "--space", str(known.folder / "space.yaml"))
    (known.folder / "config.yaml").write_text(known.settings.override({"objective": "val/loss"}).to_yaml())
    (known.folder / "space.yaml").write_text(write_yaml(known.space.to_tree()))
    warm = asked(known, *words, "--warm-start", "old", "--name", "warm", "--gpus-per-trial", "0")
    again = asked(known, "--repeat", "warm", "--name", "again")
    for search in (warm, again):
        written = Study.read(search.folder / STUDY_FILE)
        assert (written.carried, written.proposals) == ((), (params,))


@pytest.mark.parametrize(
    ("changes", "n_carried", "n_proposed"),
    [((), 6, 0), (("--threads", "2"), 6, 0), (("--epochs", "0.5"), 0, 0), (("--corpus", "b.tsv"), 0, 2)],
)
def test_a_repeat_keeps_the_carried_scores_that_still_apply(
    known: Search,
    capsys: pytest.CaptureFixture[str],
    changes: tuple[str, ...],
    n_carried: int,
    n_proposed: int,
) -> None:
    study = Study(known.folder / STUDY_FILE, known.mode)
    for number in range(6):
        study.add(
            {"learn_rate": 1e-3 * (number + 1), "batch_size": 64, "weight_decay": 0.2, "warmup_steps": 11}
        )
        study.report(number, {"pairs_seen": 100.0, known.objective: number / 10}, known.objective)
        study.finish(number, "COMPLETE")
    (known.folder / "config.yaml").write_text(known.settings.to_yaml())
    (known.folder / "space.yaml").write_text(write_yaml(known.space.to_tree()))
    words = ("--config", str(known.folder / "config.yaml"), "--space", str(known.folder / "space.yaml"))
    asked(known, *words, "--warm-start", "old", "--name", "warm", "--gpus-per-trial", "0")
    capsys.readouterr()
    again = asked(known, "--repeat", "warm", "--name", "again", *changes)
    written = Study.read(again.folder / STUDY_FILE) if (again.folder / STUDY_FILE).exists() else study
    carried = 0 if written is study else len(written.carried)
    proposed = 0 if written is study else len(written.proposals)
    assert (carried, proposed) == (n_carried, n_proposed)
    said = f"Of the trials that warm carried over: {n_carried} of 6 trials carry over"
    assert (said in capsys.readouterr().err) == (n_carried < 6)


def test_freeze_thaw_is_chosen_without_trusted_settings(
    known: Search, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    space = tmp_path / "own.yaml"
    space.write_text("space: {learn_rate: {log_uniform: [1e-5, 1e-2]}}\nsearch: {grace_share: 0.2}\n")
    chosen = asked(known, "--space", str(space), "--name", "chosen").space.search
    assert (chosen.searcher, chosen.scheduler, chosen.grace_share) == ("forecast", "freeze-thaw", 0.2)
    names = "searcher forecast, scheduler freeze-thaw"
    line = f"Chosen by Themo: {names}; the space has no trusted settings (first)\n"
    assert capsys.readouterr().err == line
    named = asked(known, "--space", str(space), "--name", "named", "--scheduler", "asha").space.search
    assert (named.searcher, named.scheduler) == ("tpe", "asha")
    for words in (["--second-objective", "mb"], ["--resource", "seconds", "--trial-seconds", "9m"]):
        other = asked(known, "--space", str(space), "--name", words[1], *words).space.search
        assert (other.searcher, other.scheduler) == ("tpe", "asha")
    assert capsys.readouterr().err == ""
