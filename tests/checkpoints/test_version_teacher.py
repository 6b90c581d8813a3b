from __future__ import annotations

from pathlib import Path

import pytest
from tiny import SettingsFactory

from themo.checkpoints.version_teacher import VersionTeacher
from themo.config import settings as config
from themo.errors import InputError

VERSION = Path("logs/version_0")


def test_a_miniature_of_another_machine_is_not_rebuilt(tmp_path: Path) -> None:
    settings = config.load(overrides={"cache_dir": str(tmp_path / "empty")})
    teacher = VersionTeacher(VERSION, settings, 64)
    for asked in (lambda: teacher.fingerprint, lambda: teacher.load("cpu")):
        with pytest.raises(InputError) as caught:
            asked()
        assert str(caught.value) == (
            f"logs/version_0: its teacher miniature:teacher must be in the cache of the training run, but "
            f"{tmp_path / 'empty'} does not contain it (cache_dir); on the machine of that run "
            "`python -m themo prepare --config logs/version_0/config.yaml --cache-dir "
            f"{tmp_path / 'empty'}` builds it again"
        )
    assert not (tmp_path / "empty").exists()


def test_vectors_of_another_dimension() -> None:
    teacher = VersionTeacher(VERSION, config.load(), 12)
    teacher.refuse_other_dimension(12)
    with pytest.raises(InputError, match=r"version_0: the student's .* the teacher's 16 dim.*, got 12"):
        teacher.refuse_other_dimension(16)


def test_own_targets_have_no_map_to_image_space(settings: SettingsFactory) -> None:
    own = settings(targets="own.npy", target="state")
    assert VersionTeacher(VERSION, own, 64).to_image_space(lambda: pytest.fail("loaded")) is None
