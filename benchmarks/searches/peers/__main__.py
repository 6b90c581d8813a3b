"""Replays peers on a table of recorded curves, and prints a line for each peer.

    python -m benchmarks.searches.peers benchmarks/searches/tables/miniature.parquet --seeds 10 --slots 4

A replay ends at the target or after the budget. A line has the median pairs until the target, in full
trainings, with quartiles; the share of seeds that reached it; and the CPU seconds per seed.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from pathlib import Path

import numpy as np

from benchmarks.searches.curves import read
from benchmarks.searches.peers import PEERS, Peer
from benchmarks.searches.peers.facts import Facts
from benchmarks.searches.replay import Oracle, oracle_of, replay


def line(peer: Peer, oracle: Oracle, asked: argparse.Namespace) -> str:
    """The figures of one peer."""
    if (missing := peer.missing()) is not None:
        return missing
    facts, reached, n_trials = Facts.of(oracle, asked.slots), [], []
    peer(oracle.space, 0, facts)  # imports the library
    start = time.process_time()
    for seed in range(asked.seeds):
        method = peer(oracle.space, seed, facts)
        replayed = replay(
            method, oracle, slots=asked.slots, budget=asked.budget * oracle.whole, bar=asked.bar
        )
        reached.append(replayed.until(asked.bar) / oracle.whole)
        n_trials.append(replayed.n_trials)
    seconds = (time.process_time() - start) / asked.seeds
    low, middle, high = np.quantile(reached, [0.25, 0.5, 0.75], method="nearest")
    share = np.isfinite(reached).mean()
    return (
        f"{peer.name:20s} {middle:6.2f} ({low:.2f} to {high:.2f})  reached {share:4.0%}  "
        f"{np.median(n_trials):5.0f} trials  {seconds:6.2f} s per seed"
    )


def main(arguments: list[str] | None = None) -> int:
    """Replay the peers; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.searches.peers", description=__doc__)
    parser.add_argument("table", type=Path, help="file of recorded curves")
    parser.add_argument("--seeds", type=int, default=10, help="replays of each peer (default: 10)")
    parser.add_argument("--slots", type=int, default=1, help="simultaneous trainings (default: 1)")
    parser.add_argument("--budget", type=float, default=32, help="full trainings per replay (default: 32)")
    parser.add_argument(
        "--bar", type=float, help="objective to reach (default: a standard error below the best)"
    )
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=list(PEERS), metavar="NAME")
    asked = parser.parse_args(arguments)
    curves = read(asked.table)
    if not any(curve.is_whole for curve in curves):
        print(
            f"Error: {asked.table}: must contain a complete curve, got {len(curves)} curves", file=sys.stderr
        )
        return 2
    oracle = oracle_of(curves)
    if asked.bar is None:
        asked.bar = oracle.bar
    print(f"{len(oracle.firsts)} settings, target {asked.bar:.4f}, {asked.slots} slots, {asked.seeds} seeds")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the libraries' own deprecations
        for name in asked.peers:
            print(line(PEERS[name], oracle, asked), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
