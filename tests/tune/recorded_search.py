"""Searches as records on disk, written without training, and the texts of the pages about them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from formula_search import a_search

from themo.cli.main import main
from themo.config.yaml_files import write_yaml
from tune.cluster.resources import Resources
from tune.cluster.storage import Storage
from tune.results.best_trials import write_best
from tune.study.search import Search
from tune.study.study import Study

SCORES = {
    "student": {"retrieval@01": 0.75, "retrieval@05": 0.9, "retrieval@10": 1.0},
    "ceiling": {"retrieval@01": 0.95, "retrieval@05": 1.0, "retrieval@10": 1.0},
    "teacher_es": {"retrieval@01": 0.05, "retrieval@05": 0.1, "retrieval@10": 0.2},
    "n": {"retrieval": 24},
    "ci95": {
        row: {f"retrieval@{k}": [0.0, 1.0] for k in ("01", "05", "10")}
        for row in ("student", "ceiling", "teacher_es")
    },
    "retention": 0.789,
    "differences": {"teacher_es": {f"retrieval@{k}": [0.7, 0.5, 0.9] for k in ("01", "05", "10")}},
}


def record(logs_dir: Path, n: int = 12, running: int = 0, name: str = "mine") -> tuple[Search, Path]:
    """A finished search of `n` trials: every third one passes the rungs, one diverges."""
    search = a_search(logs_dir, name, Resources(max_concurrent=2))
    folder = logs_dir / "tune" / name
    study = Study(folder / "study.json", "max")
    names = {"learn_rate": 1e-3, "batch_size": 64, "weight_decay": 0.1, "warmup_steps": 10}
    for i in range(n):
        trial = study.add({**names, "learn_rate": 1e-5 * 1.8**i, "batch_size": 32 + 16 * (i % 8)})
        n_reports = (0 if i == 1 else 9) if i % 3 == 1 else 1
        for step in range(1, n_reports + 1):
            metrics = {"pairs_seen": 100.0 * step, "epoch": step / 9, "val/match@01": (i + 1) * step / 200}
            study.report(i, metrics, "val/match@01")
        trial.enter_attempt(1e9 + 10 * (i // 2), 1e9 + 10 * (i // 2) + 9)
        trial.seconds = 9.0
        if n_reports:
            trial.enter_checkpoint(f"session-1/trial-{i:04d}")
            (folder / "trials" / f"session-1/trial-{i:04d}").mkdir(parents=True)
        if i < n - running:
            if n_reports == 0:
                study.finish(i, "FAIL", "diverged: loss is nan <at once>")
            else:
                study.finish(i, "COMPLETE" if n_reports == 9 else "PRUNED")
    study.save()
    return search, folder


def searched_by(search: Search, folder: Path, **changes: object) -> Search:
    """The same search with other rules, on disk too."""
    rules = search.space.search.model_copy(update=changes)
    space = replace(search.space, first=(), search=rules)
    search = Search(search.name, search.uid, space, search.settings, search.resources)
    (folder / "search.yaml").write_text(write_yaml(search.to_tree()), encoding="utf-8")
    return search


def leave_best(search: Search, folder: Path) -> None:
    """The winner with its scores, as `tune` leaves them."""
    winner = Study.read(folder / "study.json").winner()
    assert winner is not None
    write_best(winner, search.settings, Storage(str(folder / "trials")), folder)
    (folder / "best" / "summary.json").write_text('{"environment": {"torch": "2.9"}}', encoding="utf-8")
    (folder / "best" / "test.json").write_text(json.dumps(SCORES), encoding="utf-8")


def text_of(path: Path) -> str:
    """Text of a page, without its figures."""
    body = path.read_text(encoding="utf-8").partition("<main>")[2].partition("</main>")[0]
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())


def add_trial(folder: Path, score: float) -> int:
    """Add a complete trial to a search that no process runs; its number."""
    study = Study.read(folder / "study.json")
    trial = study.add({**study[0].params, "learn_rate": 2e-3})
    study.report(trial.number, {"pairs_seen": 900.0, "epoch": 1.0, "val/match@01": score}, "val/match@01")
    trial.enter_checkpoint(f"session-1/trial-{trial.number:04d}")
    study.finish(trial.number, "COMPLETE")
    return trial.number


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line with which `report` is refused."""
    assert main(["report", *map(str, arguments)]) == 2
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1), err
    return err.removeprefix("Error: ").strip()
