#!/usr/bin/env bash
# NePS 0.17.0: `asha` promotes settings that have no result yet, and most settings that have a result.
#
# Expected: ASHA (https://arxiv.org/abs/1810.05934) promotes a setting when its result is among the best third of its
#   rung, with `eta=3`; while four workers train their first settings, it can promote none and samples a new one.
# Behaviour: settings without a result count as members of the rung and are promoted. The fourth worker receives the
#   first worker's setting at the next rung, although the first worker still trains it at the lowest rung. Moreover,
#   NePS computes the best third among the settings that are not yet promoted, so from the third result on each new
#   result promotes another setting. Of nine settings, each worse than the one before it, NePS promotes six; the best
#   third has three.
# Output seen:
#   four workers, no result yet: 1_rung_0, 2_rung_0, 3_rung_0, 1_rung_1
#   one worker, losses 1 to 9 in turn at the lowest rung: 1, 2, 3, 4, 5, 6 are promoted
#
# Exits 0 while the behaviour is as described, 1 once it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet neural-pipeline-search==0.17.0
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import sys

import neps


class Space(neps.PipelineSpace):
    x = neps.Float(lower=0, upper=1)
    epochs = neps.IntegerFidelity(lower=1, upper=9)


asked = neps.AskAndTell(neps.algorithms.asha(Space()))
names = [asked.ask().id for _ in range(4)]
print("four workers, no result yet:", ", ".join(names))

alone = neps.AskAndTell(neps.algorithms.asha(Space()))
lowest, promoted = [], []
while len(lowest) < 9:
    trial = alone.ask()
    number, _, rung = trial.id.partition("_rung_")
    if rung == "0":
        lowest.append(number)
    elif rung == "1":
        promoted.append(number)
    alone.tell(trial.id, float(number))
print(f"one worker, losses 1 to 9 in turn at the lowest rung: {', '.join(promoted)} are promoted")
sys.exit(not (names[-1] == "1_rung_1" and len(promoted) > 3))
PY
