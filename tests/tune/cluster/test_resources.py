from __future__ import annotations

from dataclasses import replace

from tune.cluster.resources import Resources


def test_the_address_local_means_a_new_cluster() -> None:
    assert Resources(address="local") == Resources()
    assert replace(Resources(address="head:6379"), address="local") == Resources()
