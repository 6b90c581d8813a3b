from __future__ import annotations

import pytest

from themo.config.settings import Settings


@pytest.fixture(scope="session")
def settings() -> Settings:
    return Settings.model_validate(
        {
            "data": {"corpus": ["pairs.tsv"]},
            "teacher": {"architecture": "any"},
            "student": {"backbone": "any"},
            "training": {"threads": 1},
        }
    )
