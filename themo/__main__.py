"""Entry point of ``python -m themo``."""

import os
import sys
from pathlib import Path


def forget_working_directory() -> None:
    """Remove the working directory from `sys.path`, unless this package lies there.

    `python -m` searches it first: a user's own file ``tune.py`` would shadow our package.
    """
    first = sys.path[0] if sys.path and not sys.flags.safe_path else None
    if first is None or Path(first).resolve() == Path(__file__).resolve().parents[1]:
        return
    if Path(first).resolve() == Path(os.path.curdir).resolve():
        del sys.path[0]


def run() -> int:
    """Load the command line and run it; return the exit code.

    Loading takes a moment, in which Ctrl-C would end in a traceback.
    """
    try:
        from themo.cli.main import main
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    return main()


if __name__ == "__main__":
    forget_working_directory()
    sys.exit(run())
