"""Results, on standard output; everything else goes to `themo.progress.console`."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console


def print_result(result: Any) -> None:
    """Print a text or a table of rich."""
    Console(highlight=False, soft_wrap=True).print(result)


def print_json(result: dict[str, Any]) -> None:
    """Print an object as JSON, readable and in UTF-8."""
    sys.stdout.write(json.dumps(result, indent=2, ensure_ascii=False) + "\n")


def duration(seconds: float) -> str:
    """Seconds as people say them: "4.2 s", "12 min", "3.4 h"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
