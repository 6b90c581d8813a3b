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
