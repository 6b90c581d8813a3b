"""``python -m themo``."""

import os
import sys
from pathlib import Path


def forget_working_directory() -> None:
    """Take the working directory from the places of modules, unless this package lies there.

    `python -m` looks there first: a file ``tune.py`` of the user's own would stand in for our package.
    """
    first = sys.path[0] if sys.path and not sys.flags.safe_path else None
    if first is None or Path(first).resolve() == Path(__file__).resolve().parents[1]:
        return
    if Path(first).resolve() == Path(os.path.curdir).resolve():
        del sys.path[0]


if __name__ == "__main__":
    forget_working_directory()

    from themo.cli.main import main

    sys.exit(main())
