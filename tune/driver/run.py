"""Opens, runs and concludes a search.

The command ``tune`` and the function `themo.tune` call this. Heavy libraries are imported inside functions:
an unreachable cluster is refused before they load, and ``status`` shows a new search at once.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from themo.config.settings import Settings, load, option
from themo.config.worlds import load_for_training, toy_parts
from themo.data.sources import refuse_missing_files
from themo.errors import InputError
from themo.export.refusals import refuse_missing_packages, refuse_model_name
from themo.process.garbage import uncollected
from themo.process.output import from_here, typed
from themo.process.progress import console, waiting
from tune.cluster.address import asked_address, refuse_unreachable
from tune.cluster.folders import refuse_unfit_folders
from tune.driver.search_options import SearchOptions
from tune.space.read_dimensions import data_leaves
from tune.study.naming import reserve

if TYPE_CHECKING:
    from themo.data.dataset import TrainingData
    from tune.results.best_trials import SearchResult
    from tune.study.search import Search


@dataclass(frozen=True)
class OpenSearch:
    """A new search, or one to resume; its directory exists.

    Attributes:
        search: The search.
        options: The options that it was opened with, the address resolved.
    """

    search: Search
    options: SearchOptions

    @property
    def resume_command(self) -> str:
        """The command that resumes the search."""
        logs_dir = self.search.settings.paths.logs_dir
        where = [] if logs_dir == load().paths.logs_dir else ["--logs-dir", logs_dir]
        if self.options.resume is not None:  # a new search records these options, a resume does not
            for name in ("address", "max_concurrent"):
                given = getattr(self.options, name)
                where += [] if given is None else [option(name), str(given)]
        if self.options.register is not None:
            where += [option("register"), self.options.register]
        return typed("tune", "--resume", self.search.name, *where)

    def run(self) -> SearchResult:
        """Run the remaining trials, and write the results.

        A new search that fails before its first trial is removed, unless only its time was up.

        Raises:
            InputError, KeyboardInterrupt, RuntimeError: As in `tune.driver.session.run_search`.
        """
        with waiting("Loading libraries"), uncollected():  # after all checks that do without them
            from themo.data.preparation import prepare_data
            from themo.data.test_files import fetch_captions
            from tune.cluster.connection import ClusterError
            from tune.driver.outcome import TimeIsUpError
            from tune.driver.range_ends import refuse_unfit_ends
            from tune.driver.session import run_search
            from tune.study.search import discard_untried, has_pairs

        search, address = self.search, self.search.resources.address
        encode = None
        if address:
            from tune.cluster.teacher_vectors import encoder_on

            encode = encoder_on(address)
        is_begun = has_pairs(search)  # a search interrupted before its first trial begins here

        def prepare(settings: Settings) -> TrainingData:
            if not is_begun:
                fetch_captions(settings)
            data = prepare_data(settings, elsewhere=encode)
            if not is_begun:
                refuse_unfit_ends(search.space, settings, data)
            return data

        console.print(f"Search {search.name}: {from_here(search.folder)}")
        if search.space.search.resource == "seconds":
            console.print(
                "Resource: seconds of training. They differ from run to run, so that a search that is killed "
                "and resumed does not repeat to the last bit",
                soft_wrap=True,
            )
        if search.space.search.second_objective == "ms":
            console.print(
                "Second objective: milliseconds per text, measured on the trial's machine. They differ from "
                "run to run, so that a repeated search is not bit-equal",
                soft_wrap=True,
            )
        for line in toy_parts(search.settings):
            console.print(line, soft_wrap=True)
        try:
            budget = self.options.time_budget
            return run_search(search, prepare, time_budget=budget, resume_command=self.resume_command)
        except InputError as error:
            if self.options.resume is None and not isinstance(error, TimeIsUpError):
                discard_untried(search)
            raise
        except ClusterError as error:
            raise RuntimeError(f"{error}. To resume: {self.resume_command}") from error


def open_search(options: SearchOptions) -> OpenSearch:
    """Create the search that options describe, or read the one to resume.

    Raises:
        InputError: The cluster is unreachable, a setting or an option is wrong, or the name is taken.
    """
    if options.register is not None:
        refuse_model_name(options.register)
        refuse_missing_packages("--register")
    is_new = options.resume is None
    if is_new and options.repeat is None:
        settings = load_for_training(options.config, options.preset, options.settings)
    else:
        settings = load(options.config, options.preset, options.settings)
    with waiting("Connecting to the cluster"):
        address = asked_address(options.address)
        refuse_unreachable(address)  # before the slow imports
    refuse_unfit_folders(address)
    options = replace(options, address=address)
    # from here on `status` shows a new search
    with reserve(options.name, settings) if is_new else nullcontext() as place:
        from tune.driver.request import begin, resume  # reads the space

        search = begin(options, settings, place) if is_new else resume(options, settings)
    if is_new:
        _refuse_missing_files(search)
    return OpenSearch(search, options)


def _refuse_missing_files(search: Search) -> None:
    """Refuse a new search, and remove it, if a file of its training data is missing."""
    from tune.study.search import discard_untried

    try:
        for params in search.space.combinations(data_leaves()):
            refuse_missing_files(search.settings.override(params))
    except InputError:
        discard_untried(search)
        raise
