"""`themo.tune`: a search from a program."""

from __future__ import annotations

import math
import os
from argparse import ArgumentTypeError
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from themo.cli.options import (
    above_0_or_off,
    chance,
    gpus,
    natural,
    place,
    positive,
    positive_or_off,
    seconds,
    share_or_off,
)
from themo.config.settings import option
from themo.errors import InputError
from themo.files.run_folders import BEST_VERSION, STUDY_FILE
from themo.process.progress import silence
from themo.training.result import BestStudent
from themo.training.run import FilePath, path_if_given, plain_settings
from tune.driver.conclusion import Conclusion, conclude
from tune.driver.run import open_search
from tune.driver.search_options import SearchOptions
from tune.results.best_trials import SearchResult
from tune.space.dimensions import Scalar
from tune.study.study import Study

Read = TypeVar("Read")


@dataclass(frozen=True)
class TrialResult:
    """A trial of a search.

    Attributes:
        number: From 0, in the order of proposal.
        settings: The searched settings by leaf name.
        score: Best value of the objective; None without a report.
        state: ``complete``, ``pruned``, ``fail``, ``paused`` or ``interrupted``.
        pairs_seen: Sentence pairs that it was trained on.
        seconds: Time in training.
        cost: The second objective; None with one objective.
    """

    number: int
    settings: Mapping[str, Scalar]
    score: float | None
    state: str
    pairs_seen: int
    seconds: float
    cost: float | None = None


@dataclass(frozen=True, repr=False)
class TuneResult:
    """The result of a search.

    Attributes:
        name: Name of the search.
        folder: The search directory, with ``best.yaml``, ``best/``, ``trials.csv`` and ``report.html``.
        objective: Name of the metric that was searched on.
        is_whole: False where the time budget ended the search before its last trial: resume it by `name`.
        best: The winner, with the searched settings.
        trials: All trials, in the order of their numbers.
        test: The winner's scores as in ``test.json``; None if it was not tested.
        report: Page about the search; None if it could not be written.
        confirmation: The winner's leads over further seeds, as in ``tune --json``; None: no confirmation.
        registered: Address of the winner in MLflow's registry, ``models:/NAME/1``; None: not requested.
        front: Numbers of the trials on the front of two objectives, by cost; empty with one objective.
    """

    name: str
    folder: Path
    objective: str
    is_whole: bool
    best: BestStudent
    trials: list[TrialResult]
    test: Mapping[str, Any] | None
    report: Path | None
    confirmation: Mapping[str, Any] | None = None
    registered: str | None = None
    front: tuple[int, ...] = ()

    def __repr__(self) -> str:
        best = f"best {self.objective} {self.best.score:.4f} in trial {self.best.number}"
        more = "" if self.is_whole else ", incomplete"
        return f"<themo.TuneResult {self.name!r}: {len(self.trials)} trials, {best}{more}>"


def tune(
    *,
    config: FilePath | None = None,
    preset: str | None = None,
    space: FilePath | Mapping[str, Any] | None = None,
    num_samples: int | None = None,
    name: str | None = None,
    resume: str | None = None,
    repeat: str | None = None,
    warm_start: str | None = None,
    searcher: str | None = None,
    scheduler: str | None = None,
    search_seed: int | None = None,
    second_objective: str | None = None,
    resource: str | None = None,
    trial_seconds: float | str | None = None,
    time_budget: float | str | None = None,
    stop_after_no_gain: int | Literal["off"] | None = None,
    stop_gain: float | Literal["off"] | None = None,
    stop_chance: float | None = None,
    confirm: float | Literal["off"] | None = None,
    confirm_seeds: int | None = None,
    gpus_per_trial: float | Literal["auto"] | None = None,
    cpus_per_trial: float | None = None,
    max_concurrent: int | None = None,
    address: str | None = None,
    storage_path: FilePath | None = None,
    register: str | None = None,
    quiet: bool = False,
    **settings: Any,
) -> TuneResult:
    """Search for the best settings, as the command ``tune`` does; nothing is printed on standard output.

    The search, its trials and its winner are written into ``<logs_dir>/tune/<name>``. An interrupted search
    can be resumed, also by the command.

    Args:
        config: YAML file of settings that all trials start from; excludes `preset`.
        preset: Name of a preset; ``miniature`` where neither is given.
        space: The search space: a file, its content, or only its mapping of settings to ranges, such as
            ``{"learn_rate": {"log_uniform": [1e-5, 1e-3]}}``. None: the space of the preset.
        num_samples: Total number of trials. None: as the space says.
        name: Name of the search. None: the date and time.
        resume: Name of a search to resume, which keeps its settings and its space.
        repeat: Name of an earlier search whose settings and space the new one copies.
        warm_start: Name of an earlier search whose trials the searcher learns from.
        searcher: ``tpe``, ``gp``, ``forecast``, ``cmaes``, ``random`` or ``quasi-random``. None: as the space
            says, else chosen by Themo (`tune.space.automatic`).
        scheduler: ``asha``, ``pausing-asha``, ``freeze-thaw``, ``hyperband``, ``median``, ``pbt`` or
            ``none``. None: as the space says, else chosen by Themo.
        search_seed: Seed of the proposals. None: as the space says.
        second_objective: Cost of a student that is minimised too: ``mb``, or ``ms`` a text. None: as the
            space says.
        resource: Amount at which trials are compared: ``pairs`` seen, or ``seconds`` of their own training.
            None: as the space says.
        trial_seconds: Seconds of training of a whole trial, or a time such as ``"10m"``, with resource
            ``"seconds"``. None: as the space says.
        time_budget: Seconds, or a time such as ``"2h30m"``, after which the search stops. It includes the
            preparation of data. None: no limit.
        stop_after_no_gain: Trials without improvement after which the search stops, or ``"off"``. None: as
            the space says.
        stop_gain: Gain in the objective's unit: the search stops once the remaining trials gain more with a
            chance below `stop_chance`; or ``"off"``. None: as the space says.
        stop_chance: Above 0 and below 1; 0.05 where neither this nor the space says. None: as the space says.
        confirm: Cost of proving the winner with further seeds, as a share of the search's sentence pairs, or
            ``"off"``. None: as the space says.
        confirm_seeds: Largest number of further seeds, 2 to 6. None: as the space says.
        gpus_per_trial: GPUs per trial, also fractions; 0: CPU only; ``"auto"``: by a trial's memory. None: 1
            if there are any.
        cpus_per_trial: CPUs per trial. None: 1.
        max_concurrent: Trials at the same time. None: as many as fit.
        address: Address of a running Ray cluster; ``"local"`` starts one on this machine. None:
            ``RAY_ADDRESS``, or ``"local"``.
        storage_path: Folder or ``s3://``, ``gs://`` address that all machines share, for checkpoints. None:
            the search directory.
        register: Name under which MLflow's registry takes the winner. None: nothing is registered.
        quiet: Print no progress on standard error.
        **settings: Settings by leaf name that all trials start from, as in YAML: ``epochs=4.0``.

    Raises:
        InputError: An argument, a setting, or a file that they name is wrong, the cluster is unfit, or MLflow
            does not register the winner: the search is done then, and `resume` returns its result.
        RuntimeError: All trials failed, or the cluster did.
        KeyboardInterrupt: Interrupted; the search can be resumed.
    """
    options = SearchOptions(
        settings=plain_settings(settings),
        config=path_if_given(config),
        preset=preset,
        space=_plain(space) if isinstance(space, Mapping) else path_if_given(space),
        num_samples=_read("num_samples", num_samples, positive),
        name=_text("name", name),
        resume=_text("resume", resume),
        repeat=_text("repeat", repeat),
        warm_start=_text("warm_start", warm_start),
        search_seed=_read("search_seed", search_seed, natural),
        searcher=searcher,
        scheduler=scheduler,
        second_objective=second_objective,
        resource=resource,
        trial_seconds=_read("trial_seconds", trial_seconds, _budget),
        time_budget=_read("time_budget", time_budget, _budget),
        stop_after_no_gain=_read("stop_after_no_gain", stop_after_no_gain, positive_or_off),
        stop_gain=_read("stop_gain", stop_gain, above_0_or_off),
        stop_chance=_read("stop_chance", stop_chance, chance),
        confirm=_read("confirm", confirm, share_or_off),
        confirm_seeds=_read("confirm_seeds", confirm_seeds, positive),
        gpus_per_trial=_read("gpus_per_trial", gpus_per_trial, gpus),
        cpus_per_trial=_read("cpus_per_trial", cpus_per_trial, _number),
        max_concurrent=_read("max_concurrent", max_concurrent, positive),
        address=_text("address", address),
        storage_path=_read("storage_path", storage_path and os.fspath(storage_path), place),
        register=_text("register", register),
    )
    with silence() if quiet else nullcontext():
        opened = open_search(options)
        result = opened.run()
        end = conclude(opened.search, result.folder / BEST_VERSION, register)
        end.refuse_unregistered(opened.resume_command)
        return _result_of(opened.search.name, result, end)


def _result_of(name: str, result: SearchResult, end: Conclusion) -> TuneResult:
    from themo.checkpoints.versions import read_summary

    version, winner = result.folder / BEST_VERSION, result.best
    trials = [
        TrialResult(
            trial.number,
            dict(trial.params),
            trial.best(result.mode),
            trial.state_name(at_rest=True),
            trial.pairs_seen,
            trial.seconds,
            trial.cost,
        )
        for trial in Study.read(result.folder / STUDY_FILE)
    ]
    return TuneResult(
        name=name,
        folder=result.folder,
        objective=result.objective,
        is_whole=result.is_whole,
        best=BestStudent(
            version, result.value, read_summary(version)["best"], dict(winner.params), winner.number
        ),
        trials=trials,
        test=end.scores,
        report=end.report,
        registered=end.registered.address if end.registered else None,
        confirmation=None if result.confirmation is None else result.confirmation.to_json(),
        front=tuple(trial["trial"] for trial in result.front.get("front", ())),
    )


def _plain(value: Any) -> Any:
    """Convert the content of a space to YAML values: tuples become lists."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _read(name: str, value: object, read: Callable[[str], Read]) -> Read | None:
    """Parse an argument by the rule of the command's option of this name; None for None."""
    if value is None:
        return None
    try:
        return read(str(value))
    except ArgumentTypeError as error:
        raise InputError(f"{option(name)}: {error}") from None


def _text(name: str, value: object) -> str | None:
    if not isinstance(value, str | None):
        raise InputError(f"{option(name)}: must be a string, got {value!r}")
    return value


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ArgumentTypeError(f"must be a number, got {text!r}")
    return value


def _budget(text: str) -> float:
    """Parse a time, as in `seconds`, or a number of seconds above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    return value if 0 < value < math.inf else seconds(text)
