"""The driver of a search over the formula, as a process of its own.

Arguments: LOGS_DIR WORK_DIR NAME ADDRESS MAX_CONCURRENT, then --resume, or settings of the search as
NAME=VALUE.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import yaml

from benchmarks.chaos import formula
from themo.errors import InputError
from tune.cluster.address import refuse_unreachable
from tune.cluster.resources import Resources
from tune.driver.session import run_search
from tune.study.naming import search_folder
from tune.study.search import new_search, read_search


def main(logs_dir: str, work_dir: str, name: str, address: str, max_concurrent: str, *options: str) -> int:
    """Run or resume a search; exit codes are those of the command line."""
    settings = formula.settings_in(Path(logs_dir), Path(work_dir))
    resources = Resources(1.0, 1.0, int(max_concurrent), address)
    _await_answer(address)
    try:
        if options == ("--resume",):
            search = replace(read_search(search_folder(name, settings)), resources=resources)
        else:
            changes = yaml.safe_load("\n".join(option.replace("=", ": ") for option in options)) or {}
            search = new_search(name, formula.space_in(settings, **changes), settings, resources)
        run_search(search, formula.data_in, formula.train)
    except InputError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    return 0


def _await_answer(address: str) -> None:
    """Wait for the cluster longer than the search does; the search then skips its own check."""
    for _ in range(8):
        with suppress(InputError):
            refuse_unreachable(address)
            return


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
