from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import write_captioned_images

from themo.files.cache import Cache
from themo.models.image_vectors import image_vectors, map_to_image_space
from themo.models.teacher import Teacher

N_IMAGES = 5


@pytest.fixture(scope="module")
def teacher(tiny_teacher: Path) -> Teacher:
    return Teacher.load(str(tiny_teacher))


def never() -> Teacher:
    raise AssertionError("nothing was to be computed")


def test_vectors_are_computed_once(teacher: Teacher, tmp_path: Path) -> None:
    write_captioned_images(tmp_path, N_IMAGES)
    paths = sorted(tmp_path.rglob("*.jpg"))
    cache = Cache(tmp_path / "cache")
    first = image_vectors(cache, teacher.fingerprint, paths, lambda: teacher)
    assert image_vectors(cache, teacher.fingerprint, paths, never) == first
    np.testing.assert_array_equal(np.load(first), teacher.encode_images(paths).numpy())
    with pytest.raises(AssertionError, match="nothing was to be computed"):
        image_vectors(cache, teacher.fingerprint, paths[1:], never)


def test_the_map_is_the_projection(teacher: Teacher, tmp_path: Path) -> None:
    states = torch.from_numpy(teacher.encode_texts(["the red cat runs", "the owl"], "state"))
    path = map_to_image_space(Cache(tmp_path), teacher.fingerprint, "state", lambda: teacher)
    assert path is not None
    affine = torch.from_numpy(np.load(path))
    assert affine.shape == (17, 12)
    embeddings = teacher.encode_texts(["the red cat runs", "the owl"], "embedding")
    torch.testing.assert_close(states @ affine[:-1] + affine[-1], torch.from_numpy(embeddings))
    assert map_to_image_space(Cache(tmp_path), teacher.fingerprint, "embedding", never) is None


def test_a_projection_with_a_bias(tiny_teacher: Path, tmp_path: Path) -> None:
    """A projection as in SigLIP's towers."""
    teacher = Teacher.load(str(tiny_teacher))
    linear = torch.nn.Linear(16, 12).requires_grad_(False)
    del teacher.model.text_projection
    teacher.model.text_projection = linear
    path = map_to_image_space(Cache(tmp_path), "other", "state", lambda: teacher)
    assert path is not None
    affine = torch.from_numpy(np.load(path))
    states = torch.randn(3, 16)
    torch.testing.assert_close(states @ affine[:-1] + affine[-1], linear(states))
