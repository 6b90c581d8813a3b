"""Commands in unusual surroundings: proxies, environments, file handles, locales, folders and other runs."""

from __future__ import annotations

import csv
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from tiny import TINY_MINIATURE

pytestmark = pytest.mark.slow

NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
DEAD_PROXIES = {n: "http://127.0.0.1:9" for name in NAMES for n in (name, name.lower())}
C_LOCALE = {"LC_ALL": "C"}


@dataclass(frozen=True)
class Surroundings:
    """Folder and variables of a command, beside the tests' own environment."""

    folder: str = "plain"
    variables: dict[str, str] = field(default_factory=dict)
    is_empty: bool = False
    file_handles: int | None = None

    def run(self, place: Path, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command of Themo there; its output is UTF-8 in every locale that it escapes for."""
        return subprocess.run(
            [sys.executable, "-m", "themo", *words],
            cwd=place,
            capture_output=True,
            encoding="utf-8",
            env=({} if self.is_empty else os.environ) | self.variables,
            preexec_fn=self._limits(),
        )

    def _limits(self) -> Callable[[], None] | None:
        if (n := self.file_handles) is None:
            return None
        return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (n, n))


ODD = "#1 'a\" [b] %41 ñ"
SURROUNDINGS = {
    "dead proxies": Surroundings(variables=DEAD_PROXIES),
    "empty environment": Surroundings(is_empty=True),
    "few file handles": Surroundings(file_handles=64),
    "C locale": Surroundings("niño", C_LOCALE),
    "odd folder": Surroundings(ODD),
}


@pytest.mark.parametrize("surroundings", SURROUNDINGS.values(), ids=SURROUNDINGS)
def test_a_run_in_unusual_surroundings(surroundings: Surroundings, tiny_config: Path, tmp_path: Path) -> None:
    place = tmp_path / surroundings.folder
    place.mkdir()
    config = place / "own.yaml"
    tree = yaml.safe_load(tiny_config.read_text(encoding="utf-8"))
    tree["paths"] |= {"logs_dir": "logs", "cache_dir": "cache"}
    config.write_text(yaml.safe_dump(tree), encoding="utf-8")
    done = surroundings.run(place, "train", "--config", "own.yaml", "--epochs", "0.5")
    assert done.returncode == 0, done.stderr
    version = place / "logs" / "tiny" / "version_0"
    summary = json.loads((version / "summary.json").read_text(encoding="utf-8"))
    assert summary
    assert (place / "logs" / "mlflow.db").is_file()
    repeated = surroundings.run(place, "train", "--config", "logs/tiny/version_0/config.yaml")
    assert repeated.returncode == 0, repeated.stderr
    assert _metrics(place / "logs" / "tiny" / "version_1") == _metrics(version)
    assert surroundings.run(place, "status", "logs/tiny/version_1", "--json").returncode == 0


def _metrics(version: Path) -> list[dict[str, str]]:
    with (version / "metrics.csv").open(encoding="utf-8", newline="") as file:
        return [
            {n: v for n, v in row.items() if "second" not in n and "/s" not in n}
            for row in csv.DictReader(file)
        ]


def test_two_runs_at_once_in_one_folder(tiny_config: Path, tmp_path: Path) -> None:
    """They prepare the same data, make the same database, and take versions of their own."""
    command = [sys.executable, "-m", "themo", "train", "--config", str(tiny_config)]
    runs = [
        subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [run.communicate(timeout=300) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs
    versions = sorted((tmp_path / "logs" / "tiny").glob("version_*"))
    assert [path.name for path in versions] == ["version_0", "version_1"]
    assert _metrics(versions[0]) == _metrics(versions[1])


def test_a_search_in_unusual_surroundings(tmp_path: Path) -> None:
    """Proxies that no connection of the cluster may take, few handles, plain characters, an odd folder."""
    surroundings = Surroundings(variables=DEAD_PROXIES | C_LOCALE, file_handles=512)
    place = tmp_path / ODD
    place.mkdir()
    tree = {
        "preset": "miniature",
        "training": {"epochs": 1.0, "report_pairs": 300, "device": "cpu"},
        "miniature": TINY_MINIATURE,
    }
    (place / "own.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    done = surroundings.run(
        place, "tune", "--config", "own.yaml", "--num-samples", "2", "--name", "mine", "--json"
    )
    assert done.returncode == 0, done.stderr
    json.loads(done.stdout)
    search = place / "logs" / "tune" / "mine"
    assert (search / "best" / "student" / "model.safetensors").is_file()
    tested = surroundings.run(place, "test", "--version-path", "logs/tune/mine/best", "--json")
    assert tested.returncode == 0, tested.stderr
    assert json.loads(tested.stdout)["n"]
