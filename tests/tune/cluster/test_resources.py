from __future__ import annotations

from dataclasses import replace

from tune.cluster.resources import Resources


def test_a_local_cluster_is_one_that_is_yet_to_be_started() -> None:
    assert Resources(address="local") == Resources()
    assert replace(Resources(address="head:6379"), address="local") == Resources()
