"""Recognition of static tables' folders, without a library of models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CONFIG = "config.json"
MAKER = "themo"
"""Key of a table's `config.json` that tables of other makers lack."""
KIND = "static"


def is_table(folder: Path) -> bool:
    """Whether a folder holds a static table that ``export --format static`` wrote."""
    try:
        config: Any = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and config.get(MAKER) == KIND
