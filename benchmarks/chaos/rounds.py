"""Rounds of a search under faults, and their results."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from scipy.stats import ks_2samp

from benchmarks.chaos import accounts, formula
from benchmarks.chaos.cluster import REPOSITORY, Cluster
from benchmarks.chaos.disk import SmallDisk, why_not
from benchmarks.chaos.faults import KINDS, MANY, Fault, Kind, draw
from benchmarks.chaos.server import ServerOnSqlite
from benchmarks.measure import Goal, Options, Row
from themo.errors import InputError
from themo.files.run_folders import SEARCH_FILE, STUDY_FILE
from themo.tracking.unsent import MARK_FILE
from tune.results.parent_run import send_search
from tune.study.search import TRIALS_FOLDER, read_search
from tune.study.study import Study

NODES = 3
SECONDS_A_REPORT = 0.2
PEERS = 2
"""Undisturbed searches for each one under faults in several slots, where the order of reports is random."""
_SECONDS_OF_THE_DEAD = 10.0
"""Seconds until Ray has ended the workers of a killed driver, on a busy machine."""
_PATIENCE = 400.0
"""Seconds without a new report after which a search counts as stuck."""


@dataclass
class Outcome:
    """The results of a round.

    Attributes:
        faults: Number of faults of each kind.
        lost: Number of repeated reports.
        violations: One line for each violation.
        study: The finished record; None if the search did not finish.
    """

    faults: Counter[Kind] = field(default_factory=Counter)
    lost: int = 0
    violations: list[str] = field(default_factory=list)
    study: Study | None = None


class Site:
    """A cluster, a tracking server and a small disk, on which searches run one after the other.

    Args:
        cluster: The Ray cluster.
        server: The MLflow server.
        disk: The small disk for results.
        folder: Folder for logs, outside the small disk.
    """

    def __init__(
        self, cluster: Cluster, server: ServerOnSqlite, disk: SmallDisk | None, folder: Path
    ) -> None:
        self.cluster = cluster
        self.server = server
        self.disk = disk
        self.folder = folder
        self.logs_dir = disk.folder if disk else folder / "logs"
        self._drivers: list[subprocess.Popen[bytes]] = []

    def work_dir(self, name: str) -> Path:
        """Folder of a search's work log."""
        return self.folder / name

    def search_dir(self, name: str) -> Path:
        """The directory of a search."""
        return self.logs_dir / "tune" / name

    def start(self, name: str, slots: int, *options: str) -> subprocess.Popen[bytes]:
        """Start the driver of a search."""
        arguments = [str(self.logs_dir), str(self.work_dir(name)), name, self.cluster.address, str(slots)]
        with (self.work_dir(name) / "driver.log").open("ab") as log:
            driver = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.chaos.driver", *arguments, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=REPOSITORY,
                start_new_session=True,
                env=os.environ | self.cluster.environment | {"MLFLOW_TRACKING_URI": self.server.uri},
            )
        self._drivers.append(driver)
        return driver

    def close(self) -> None:
        """End the remaining drivers."""
        for driver in self._drivers:
            if driver.poll() is None:
                os.killpg(driver.pid, signal.SIGKILL)
                driver.wait()

    def run(
        self,
        name: str,
        slots: int,
        faults: list[Fault],
        rng: random.Random,
        pace: float = SECONDS_A_REPORT,
        changes: Mapping[str, object] | None = None,
        whole: Study | None = None,
    ) -> Outcome:
        """Run a search under faults and check its results; after a violation its files are kept.

        Args:
            name: Name of the search.
            slots: Number of trials at once.
            faults: Faults to inject.
            rng: Chooses the victims.
            pace: Seconds per report.
            changes: Changed settings of the search.
            whole: The undisturbed record that the result must equal; None: the order of reports is random.
        """
        self.cluster.await_whole()
        self.server.await_answer()
        self.work_dir(name).mkdir(parents=True)
        (self.work_dir(name) / formula.PACE_FILE).write_text(str(pace))
        storm = _Storm(self, name, slots, faults, rng)
        try:
            storm.blow(*(f"{key}={value}" for key, value in (changes or {}).items()))
        except (_StuckError, InputError) as error:
            storm.outcome.violations.append(str(error))
        storm.mend_all()
        if not storm.outcome.violations:
            try:
                self._account(name, storm, whole)
            except InputError as error:  # the record is unreadable
                storm.outcome.violations.append(str(error))
        if storm.outcome.violations:
            kept = Path(tempfile.mkdtemp(prefix="chaos-violation-"))
            for folder, part in ((self.work_dir(name), "work"), (self.search_dir(name), "search")):
                if folder.exists():
                    shutil.copytree(folder, kept / part)
            storm.outcome.violations.append(f"its files are kept at {kept}")
        shutil.rmtree(self.search_dir(name), ignore_errors=True)
        return storm.outcome

    def _account(self, name: str, storm: _Storm, whole: Study | None) -> None:
        outcome = storm.outcome
        self.server.await_answer()
        folder = self.search_dir(name)
        if (folder / MARK_FILE).exists():
            send_search(folder, 300)
        search = read_search(folder)
        study = Study.read(folder / STUDY_FILE)
        attempts = accounts.read_attempts(self.work_dir(name) / formula.LOG_FILE)
        if "Traceback" in (self.work_dir(name) / "driver.log").read_text(errors="replace"):
            outcome.violations.append("a driver left a traceback")
        outcome.study, outcome.lost = study, accounts.reports_lost(attempts)
        outcome.violations += [
            *accounts.wrong_in_study(study, search.space.search.num_samples, folder / TRIALS_FOLDER),
            *accounts.wrong_in_work(study, attempts, storm.kills),
            *accounts.wrong_in_mlflow(study, self.server.uri, "default", search.uid),
            *(accounts.wrong_in_comparison(study, whole) if whole is not None else ()),
        ]


class _StuckError(Exception):
    """A search makes no progress, or its driver ended by itself."""


class _Storm:
    """One search, its driver, and its remaining faults.

    Attributes:
        kills: Kills of workers, nodes and the driver.
    """

    def __init__(self, site: Site, name: str, slots: int, faults: list[Fault], rng: random.Random) -> None:
        self._site = site
        self._name = name
        self._slots = slots
        self._faults = list(faults)
        self._rng = rng
        self._due: dict[Fault, float] = {}
        self._repairs: list[tuple[float, Callable[[], None]]] = []
        self._driver: subprocess.Popen[bytes] | None = None
        self.outcome = Outcome()
        self.kills: list[accounts.Kill] = []
        self._driver_killed = 0.0
        self._ends = accounts.Ends()

    def blow(self, *options: str) -> None:
        """Run the search to its end, injecting the faults.

        Raises:
            _StuckError: The search does not finish.
        """
        self._driver = self._site.start(self._name, self._slots, *options)
        seen, changed = -1, time.monotonic()
        looked = time.time()
        while True:
            now, n_begun = time.monotonic(), self._begun()
            self._look_at_ends()
            if n_begun != seen:
                seen, changed = n_begun, now
            if now - changed > _PATIENCE:
                raise _StuckError(f"no report was started in {_PATIENCE:.0f} s, after {n_begun}")
            for repair in [entry for entry in self._repairs if entry[0] <= now]:
                self._repairs.remove(repair)
                repair[1]()
            if self._site.disk and self._site.disk.is_filled:
                self._site.disk.fill()
            if self._driver is not None and self._driver.poll() is not None:
                if self._driver.returncode != 0:
                    log = (self._site.work_dir(self._name) / "driver.log").read_text(errors="replace")
                    last = log.strip().rpartition("\n")[2]
                    raise _StuckError(f"the driver ended with exit code {self._driver.returncode}: {last}")
                self._look_at_ends()
                return
            if self._site.cluster.mend():  # a node ended by itself, as on a busy machine
                self._killed(looked)
            looked = time.time()
            for fault in [one for one in self._faults if one.after <= n_begun]:
                if now >= self._due.setdefault(fault, now + fault.delay) and self._inject(fault):
                    self._faults.remove(fault)
                    self.outcome.faults[fault.kind] += 1
                    self._note(f"{fault.kind} after {n_begun} reports, for {fault.lasts:.1f} s")
            time.sleep(0.05)

    def _look_at_ends(self) -> None:
        path = self._site.search_dir(self._name) / STUDY_FILE
        if path.exists():
            self._ends.look(Study.read(path))
            self.outcome.violations += self._ends.violations
            self._ends.violations.clear()

    def mend_all(self) -> None:
        """Repair all remaining faults at once."""
        for _, repair in self._repairs:
            repair()
        self._repairs.clear()
        if self._driver is not None and self._driver.poll() is None:
            os.killpg(self._driver.pid, signal.SIGKILL)
            self._driver.wait()

    def _note(self, text: str) -> None:
        with (self._site.work_dir(self._name) / "faults.log").open("a") as log:
            log.write(f"{time.time():.3f} {text}\n")

    def _begun(self) -> int:
        log = self._site.work_dir(self._name) / formula.LOG_FILE
        return log.read_bytes().count(b'"begun"') if log.exists() else 0

    def _inject(self, fault: Fault) -> bool:
        """Inject a fault; False if there is no victim at the moment."""
        site, end = self._site, time.monotonic() + fault.lasts
        now = time.time()
        match fault.kind:
            case "worker":
                workers = [worker for node in site.cluster.nodes for worker in node.workers()]
                if not workers:
                    return False
                with suppress(psutil.NoSuchProcess):
                    self._rng.choice(workers).kill()
                self._killed(now)
            case "node":
                able = [node for node in site.cluster.nodes if node.is_running]
                at_work = [node for node in able if node.workers()] or able
                if len(able) < 2:
                    return False
                site.cluster.kill_node(self._rng.choice(at_work))
                self._killed(now)
                self._repairs.append((end, site.cluster.add_node))
            case "driver":
                if self._driver is None or self._driver.poll() is not None:
                    return False
                os.killpg(self._driver.pid, signal.SIGKILL)
                self._driver.wait()
                self._driver = None
                self._driver_killed = now
                self._repairs.append((end, self._resume))
            case "server":
                if not site.server.is_running:
                    return False
                site.server.kill()
                self._repairs.append((end, site.server.begin))
            case "disk":
                if site.disk is None:
                    raise ValueError(f"no disk to fill: {why_not()}")
                if site.disk.is_filled:
                    return False
                site.disk.fill()
                self._repairs.append((end, site.disk.free))
        return True

    def _killed(self, since: float, grace: float = 0.0) -> None:
        self.kills.append(accounts.Kill(since, time.time() + grace))

    def _resume(self) -> None:
        # the old driver's workers may continue, and start assigned trials, until Ray has ended them; the new
        # driver's workers cannot be running so soon
        self._killed(self._driver_killed, _SECONDS_OF_THE_DEAD)
        if (self._site.search_dir(self._name) / SEARCH_FILE).exists():
            self._driver = self._site.start(self._name, self._slots, "--resume")


@contextmanager
def opened_site() -> Iterator[Site]:
    """Yield a site; clean up afterwards."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))
        (folder / "server").mkdir()
        disk = None if why_not() else stack.enter_context(SmallDisk(folder / "disk"))
        server = stack.enter_context(ServerOnSqlite(folder / "server"))
        cluster = stack.enter_context(Cluster(NODES, folder))
        site = Site(cluster, server, disk, folder)
        stack.callback(site.close)
        yield site


@dataclass
class Tally:
    """Totals of all rounds so far.

    Attributes:
        rounds: Number of rounds.
        faults, lost, violations: Sums over the rounds' `Outcome`.
        scores: Winners' objectives in several slots, under faults.
        spread: Winners' objectives in several slots, undisturbed.
    """

    rounds: int = 0
    faults: Counter[Kind] = field(default_factory=Counter)
    lost: int = 0
    violations: list[str] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    spread: list[float] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Add a round."""
        self.rounds += 1
        self.faults += outcome.faults
        self.lost += outcome.lost
        self.violations += [f"round {self.rounds}: {violation}" for violation in outcome.violations]

    def comparison(self, seeds: Sequence[int]) -> list[Row]:
        """Kolmogorov-Smirnov test that winners under faults are distributed like undisturbed ones."""
        if not (self.scores and self.spread):
            return []
        within = sum(min(self.spread) <= score <= max(self.spread) for score in self.scores)
        return [
            Row(
                f"chaos: winners in {NODES} slots, p-value against undisturbed ones",
                float(ks_2samp(self.scores, self.spread).pvalue),
                "",
                Goal(0.01),
                detail=f"{within} of {len(self.scores)} within the range of {len(self.spread)} undisturbed "
                f"ones: {_range(self.scores)} against {_range(self.spread)}",
                seeds=seeds,
            )
        ]

    def __str__(self) -> str:
        kinds = ", ".join(f"{kind} {self.faults[kind]}" for kind in KINDS)
        return (
            f"{self.rounds} rounds, {self.faults.total()} faults ({kinds}), {self.lost} reports repeated, "
            f"{len(self.violations)} violations; winners in {NODES} slots: "
            f"undisturbed {_range(self.spread)}, under faults {_range(self.scores)}"
        )


def run(options: Options) -> list[Row]:
    """Run rounds in one slot and in several alternately, and undisturbed searches beside the latter.

    Prints a line per round. Ctrl-C ends the benchmark with rows of the rounds so far.
    """
    rng, seeds = random.Random(options.seed), (options.seed,)
    tally = Tally()
    changes = {"seed": options.seed}
    with opened_site() as site, suppress(KeyboardInterrupt):
        counts: dict[Kind, int] = {kind: n for kind, n in MANY.items() if site.disk or kind != "disk"}
        whole = undisturbed(site, "one", 1, changes)
        n_reports = sum(len(trial.values) for trial in whole)
        for number in range(options.rounds):
            slots = 1 if number % 2 == 0 else NODES
            outcome = site.run(
                f"round-{number}",
                slots,
                draw(counts, n_reports, rng),
                rng,
                changes=changes,
                whole=whole if slots == 1 else None,
            )
            if outcome.study is not None and slots > 1:
                tally.scores.append(accounts.score(outcome.study))
            tally.add(outcome)
            for line in [str(tally), *outcome.violations]:
                print(line, file=sys.stderr, flush=True)
            for peer in range(PEERS if slots > 1 else 0):
                study = undisturbed(site, f"undisturbed-{number}-{peer}", NODES, changes)
                tally.spread.append(accounts.score(study))
    return [
        Row("chaos: faults injected", tally.faults.total(), "", detail=str(tally), seeds=seeds),
        Row(
            "chaos: violations",
            len(tally.violations),
            "",
            Goal(1, "<"),
            detail="; ".join(tally.violations[:3]),
            seeds=seeds,
        ),
        *tally.comparison(seeds),
    ]


def undisturbed(site: Site, name: str, slots: int, changes: Mapping[str, object]) -> Study:
    """The record of a search without faults.

    Raises:
        RuntimeError: The search has a violation without faults.
    """
    pace = 0.0 if slots == 1 else 0.05  # in one slot, time has no effect
    outcome = site.run(name, slots, [], random.Random(0), pace, changes)
    if outcome.violations or outcome.study is None:
        raise RuntimeError("; ".join(outcome.violations))
    return outcome.study


def _range(scores: list[float]) -> str:
    return f"{min(scores):.4f} to {max(scores):.4f}" if scores else "none"
