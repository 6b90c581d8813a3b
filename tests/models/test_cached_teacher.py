"""A teacher by its cached vectors, beside the model itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny import write_captioned_images

from themo.errors import InputError
from themo.files.cache import Cache
from themo.models.cached_teacher import CachedTeacher
from themo.models.teacher import Teacher
from themo.models.teacher_names import Target

TEXTS = ["the red cat runs", "the owl"]
TARGETS: tuple[Target, ...] = ("state", "embedding", "unit")


@pytest.fixture(scope="module")
def teacher(tiny_teacher: Path) -> Teacher:
    return Teacher.load(str(tiny_teacher))


def test_cached_vectors_equal_the_teachers(tiny_teacher: Path, teacher: Teacher, tmp_path: Path) -> None:
    write_captioned_images(tmp_path, 3)
    paths = sorted(tmp_path.rglob("*.jpg"))
    cached = CachedTeacher(Cache(tmp_path / "cache"), str(tiny_teacher), None, "cpu")
    assert cached.fingerprint == teacher.fingerprint
    assert torch.equal(cached.encode_images(paths), teacher.encode_images(paths))
    assert torch.equal(cached.encode_texts(TEXTS), torch.from_numpy(teacher.encode_texts(TEXTS)))
    for target in TARGETS:
        assert cached.dimension(target) == teacher.dimension(target)
        vectors = torch.randn(4, teacher.dimension(target))
        torch.testing.assert_close(
            cached.to_image_space(vectors, target), teacher.to_image_space(vectors, target)
        )


def test_cached_vectors_need_no_model(
    tiny_teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_captioned_images(tmp_path, 3)
    paths = sorted(tmp_path.rglob("*.jpg"))

    def results() -> list[torch.Tensor]:
        cached = CachedTeacher(Cache(tmp_path / "cache"), str(tiny_teacher), None, "cpu")
        vectors = torch.ones(2, cached.dimension("state"))
        return [
            cached.encode_images(paths),
            cached.encode_texts(TEXTS),
            cached.to_image_space(vectors, "state"),
        ]

    def never(*_: object) -> Teacher:
        raise AssertionError("the model was to stay away")

    first = results()
    monkeypatch.setattr(Teacher, "load", never)
    assert all(torch.equal(a, b) for a, b in zip(first, results(), strict=True))
    cached = CachedTeacher(Cache(tmp_path / "cache"), str(tiny_teacher), None, "cpu")
    with pytest.raises(AssertionError, match="stay away"):
        cached.encode_texts(TEXTS[:1])


def test_a_missing_teacher_is_refused(tmp_path: Path) -> None:
    cached = CachedTeacher(Cache(tmp_path), str(tmp_path / "none"), None, "cpu")
    with pytest.raises(InputError, match=r"teacher\.architecture .*none: cannot be loaded"):
        cached.dimension("embedding")
