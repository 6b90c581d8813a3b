#!/usr/bin/env bash
# Ray 2.60.0: after `ray.shutdown()` the program's handler of SIGTERM is not called, although Python still lists it.
#
# Expected: a program that sets its own handler of SIGTERM after `ray.init()` keeps it. `signal.getsignal` returns it
#   before and after `ray.shutdown()`, so SIGTERM calls it.
# Behaviour: the end of Ray's core worker sets SIGTERM to its default action in the operating system. Python does not
#   notice, so `signal.getsignal` returns the handler, but SIGTERM ends the process at once. Work after the search,
#   such as a test of its winner, is lost without a message. Setting the same handler again restores it.
#   SIGINT is not affected.
# Output seen:
#   before shutdown: SIGTERM caught by the process: True, handler known to Python: True
#   after shutdown:  SIGTERM caught by the process: False, handler known to Python: True
#   set again:       SIGTERM caught by the process: True, handler known to Python: True
#
# Exits 0 while the behaviour is as described, 1 once it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet ray==2.60.0
cd "$folder"
export RAY_USAGE_STATS_ENABLED=0
"$folder/venv/bin/python" - <<'PY'
import signal
import sys
from pathlib import Path

import ray


def on_sigterm(number: int, frame: object) -> None:
    pass


def is_caught() -> bool:
    status = Path("/proc/self/status").read_text()
    (mask,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(mask, 16) >> (signal.SIGTERM - 1) & 1)


def state(moment: str) -> tuple[bool, bool]:
    found = is_caught(), signal.getsignal(signal.SIGTERM) is on_sigterm
    print(f"{moment:<16} SIGTERM caught by the process: {found[0]}, handler known to Python: {found[1]}")
    return found


ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
signal.signal(signal.SIGTERM, on_sigterm)
before = state("before shutdown:")
ray.shutdown()
after = state("after shutdown:")
signal.signal(signal.SIGTERM, on_sigterm)
again = state("set again:")
sys.exit((before, after, again) != ((True, True), (False, True), (True, True)))
PY
