"""The Hugging Face hub's layout on a `Host`, as far as its clients need it to download."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import warm_start
from hosts import Answer, Request, Route
from pyarrow import parquet
from tiny import sentence_pairs

import themo
from themo.config.catalogue import CATALOGUE

COMMIT = "0123456789abcdef0123456789abcdef01234567"
"""Commit of all repositories."""


def hub(models: Mapping[str, Path] | None = None, datasets: Mapping[str, Path] | None = None) -> Route:
    """A route that serves folders as repositories; ``HF_ENDPOINT`` is then the host's address.

    Args:
        models: Folder of each model by its name, ``owner/name`` or ``name``.
        datasets: Folder of each data set.
    """
    kinds = (("models", "", models or {}), ("datasets", "datasets/", datasets or {}))

    def answer(request: Request) -> Answer | None:
        for kind, prefix, repositories in kinds:
            for name, folder in repositories.items():
                found = _answer(request.path, kind, f"{prefix}{name}", name, folder)
                if found is not None:
                    return found
        if not request.path.startswith("api/") and "/resolve/" not in request.path:
            return None  # of another host, that has the same address here
        return Answer(b"", {"X-Error-Code": "RepoNotFound"}, 404)

    return answer


def _answer(path: str, kind: str, place: str, name: str, folder: Path) -> Answer | None:
    files = {str(file.relative_to(folder)): file for file in sorted(folder.rglob("*")) if file.is_file()}
    if path.startswith(f"api/{kind}/{name}/revision/") or path == f"api/{kind}/{name}":
        siblings = [{"rfilename": file, "size": path.stat().st_size} for file, path in files.items()]
        return _json(
            {"id": name, "sha": COMMIT, "private": False, "tags": [], "downloads": 0, "siblings": siblings}
        )
    if path.startswith(f"api/{kind}/{name}/tree/"):
        return _json(
            [
                {"type": "file", "path": file, "size": path.stat().st_size, "oid": _oid(path)}
                for file, path in files.items()
            ]
        )
    for revision in (COMMIT, "main"):
        start = f"{place}/resolve/{revision}/"
        if path.startswith(start):
            file = files.get(path.removeprefix(start))
            if file is None:
                return Answer(b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}, 404)
            return Answer(file.read_bytes(), {"ETag": f'"{_oid(file)}"', "X-Repo-Commit": COMMIT})
    return None


def _oid(file: Path) -> str:
    return hashlib.sha1(file.read_bytes(), usedforsecurity=False).hexdigest()


def _json(value: object) -> Answer:
    return Answer(json.dumps(value).encode(), {"Content-Type": "application/json"})


def write_catalogue(root: Path) -> dict[str, Path]:
    """The catalogue's repositories as folders of 90 pairs each, with a file of another split."""
    pairs = sentence_pairs()
    folders = {}
    for i, entry in enumerate(CATALOGUE.values()):
        folder = root / entry.repository
        train, test = (
            folder / entry.files.replace("train", kind).replace("*", "00000-of-00001")
            for kind in ("train", "test")
        )
        train.parent.mkdir(parents=True)
        part = pairs[90 * i : 90 * (i + 1)]
        english, spanish = (column.partition(".") for column in entry.columns)
        if english[2]:
            content = {english[0]: [{english[2]: en, spanish[2]: es} for en, es in part]}
        else:
            content = {english[0]: [en for en, _ in part], spanish[0]: [es for _, es in part]}
        if entry.only is not None:  # every other pair is of another language
            column, value = entry.only
            content = {name: [text for text in texts for _ in range(2)] for name, texts in content.items()}
            content[column] = [value, "fr"] * len(part)
        if test != train:
            parquet.write_table(pa.table({"other": ["x"]}), test)
        parquet.write_table(pa.table(content), train)
        folders[entry.repository] = folder
    return folders


def prepare(
    config: Path, folder: Path, endpoint: str, *arguments: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    """``themo prepare`` in a process of its own: the hub's client reads its environment at its import."""
    command = [*warm_start.PYTHON, "-m", "themo", "prepare", "--config", str(config), *arguments]
    environment = {
        "PATH": "/usr/bin:/bin",
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(folder / "hf"),
        "HOME": str(folder),
        "OMP_NUM_THREADS": "1",
        **warm_start.variables(),
        "PYTHONPATH": str(Path(themo.__file__).parent.parent),  # the code that is tested here
    }
    return subprocess.run(
        command,
        env=environment | variables,
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
        timeout=500,  # one that waits for a hub without end would never fail
    )
