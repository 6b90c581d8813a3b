"""A served folder: an untrained student of the tiny teacher over pictures of noise."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from served import TEXT, Served, calibrated, serving
from tiny import write_picture, write_version_of

import themo
from themo.config.settings import Settings
from themo.image_search.answers import Answerer
from themo.image_search.index import ImageIndex
from themo.image_search.pictures import find_pictures
from themo.image_search.serving.collection import Collection

N = 30


@pytest.fixture(scope="session")
def collection(
    tmp_path_factory: pytest.TempPathFactory, tiny_corpus: Path, tiny_teacher: Path, tiny_backbone: Path
) -> Collection:
    """30 pictures, in a folder that no test changes; the last two are copies of the first."""
    root = tmp_path_factory.mktemp("collection")
    folder = root / "fotos & más"
    random = np.random.default_rng(0)
    for i in range(N - 2):
        write_picture(folder / f"{i:02d}.jpg", random)
    (folder / "viaje").mkdir()
    for name in ("viaje/a.jpg", "viaje/b <b>.jpg"):
        (folder / name).write_bytes((folder / "00.jpg").read_bytes())
    tree = {
        "paths": {"logs_dir": str(root / "logs"), "cache_dir": str(root / "cache")},
        "data": {"corpus": [str(tiny_corpus)]},
        "teacher": {"architecture": str(tiny_teacher), "target": "embedding"},
        "student": {"backbone": str(tiny_backbone), "backbone_weights": False, "max_length": 16},
    }
    version = write_version_of(Settings.model_validate(tree), root / "version", dimension=12)
    model = themo.load(version)
    found = find_pictures(folder, lambda _: None)
    index = ImageIndex.update(root / "cache", folder, found, model.teacher_fingerprint, lambda: model.teacher)
    answerer = calibrated(Answerer(model, index), np.empty((0, 12), np.float32))
    # pictures of noise are all alike
    return Collection(folder, answerer, "logs/tiny/version_0", fold_duplicates=False)


@pytest.fixture
def doubtful(collection: Collection) -> Answerer:
    """Finds some matches of `TEXT` likely and others unlikely."""
    model, index = collection.answerer.model, collection.index
    (query_E,) = model.encode([TEXT], normalize=True)
    pictures_NE = np.concatenate([piece.rows for piece in index.pieces])
    mean_E = pictures_NE.mean(axis=0)
    # a reference beside the query, towards one picture, away from what all have in common
    basis_E2 = np.linalg.qr(np.stack([query_E, mean_E], axis=1))[0]
    aside_E = pictures_NE[0] - basis_E2 @ (basis_E2.T @ pictures_NE[0])
    reference_E = query_E + 0.1 * aside_E / np.linalg.norm(aside_E)
    reference_E /= np.linalg.norm(reference_E)
    return calibrated(Answerer(model, index), reference_E[None].astype(np.float32))


@pytest.fixture(scope="module")
def served(collection: Collection) -> Iterator[Served]:
    with serving(collection) as served:
        yield served


@pytest.fixture
def folder(tmp_path: Path, collection: Collection) -> Path:
    """A copy of the pictures, for a test that changes them."""
    return Path(shutil.copytree(collection.folder, tmp_path / collection.folder.name))


@pytest.fixture
def changing(folder: Path, collection: Collection) -> Iterator[Served]:
    """A server over `folder`, indexed before the test changes it."""
    with serving(replace(collection, folder=folder)) as served:
        yield served
