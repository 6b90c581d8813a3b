import re
from pathlib import Path

import pytest
from hosts import Fault, Host
from hub import COMMIT, hub, prepare, write_catalogue
from hypothesis import given
from hypothesis import strategies as st
from rich.filesize import decimal

from themo.config.catalogue import CATALOGUE, parse_weighted

TALKS = f"datasets/{CATALOGUE['talks'].repository}"


@given(st.floats(0.01, 1000).map(lambda w: f"{w:.2f}"), st.sampled_from(["talks", "a*b.tsv", "/x/2*y.tsv"]))
def test_weights_are_read(weight: str, name: str) -> None:
    assert parse_weighted(f"{weight}*{name}") == (float(weight), name)
    assert parse_weighted(name) == (1.0, name)


@pytest.fixture
def datasets(tmp_path: Path) -> dict[str, Path]:
    return write_catalogue(tmp_path / "hub")


@pytest.mark.slow
def test_corpora_come_from_the_hub_once(tiny_config: Path, tmp_path: Path, datasets: dict[str, Path]) -> None:
    names = ("opus-100", "0.5*talks", "2*tatoeba", "image-captions")
    assert list(CATALOGUE) == ["opus-100", "talks", "tatoeba", "image-captions"]
    with Host(tmp_path / "none") as host:
        host.routes.append(hub(datasets=datasets))
        first = prepare(tiny_config, tmp_path, host.address, "--corpus", *names)
        assert first.returncode == 0, first.stderr
        for name in CATALOGUE:
            assert re.search(rf"Corpus {name}: \d\d of 90 pairs kept", first.stderr)
            entry = CATALOGUE[name]
            (served,) = datasets[entry.repository].glob(entry.files)
            size = decimal(served.stat().st_size)
            assert f"Fetching corpus {entry.repository}: {size} from {host.address}\n" in first.stderr
        fetched = [
            r.path for r in host.requests if r.method == "GET" and r.path.startswith(f"{TALKS}/resolve")
        ]
        assert len(fetched) == 1
        assert "test-" not in "".join(r.path for r in host.requests)
    again = prepare(tiny_config, tmp_path, host.address, "--corpus", *names, HF_HUB_OFFLINE="1")
    assert again.returncode == 0, again.stderr
    assert "Fetching" not in again.stderr


@pytest.mark.slow
def test_a_cut_transfer_is_completed(tiny_config: Path, tmp_path: Path, datasets: dict[str, Path]) -> None:
    with Host(tmp_path / "none") as host:
        host.routes.append(hub(datasets=datasets))
        path = f"{TALKS}/resolve/{COMMIT}/en-es/train-00000-of-00001.parquet"
        host.fault(path, Fault(method="GET", cut_after=500))
        done = prepare(tiny_config, tmp_path, host.address, "--corpus", "talks", "--validation-pairs", "40")
    assert done.returncode == 0, done.stderr
    assert "Corpus talks: 90 of 90 pairs kept" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("is_offline", [False, True])
def test_without_a_network(tiny_config: Path, tmp_path: Path, is_offline: bool) -> None:
    with Host(tmp_path) as host:
        pass  # its port is free again: connections are refused
    done = prepare(
        tiny_config, tmp_path, host.address, "--corpus", "talks", *(["--offline"] if is_offline else [])
    )
    assert done.returncode == 2
    reason = "not among the hub's files in " if is_offline else f"{host.address} failed: "
    assert done.stderr.splitlines()[-1].startswith(f"Error: corpus {CATALOGUE['talks'].repository}: {reason}")
    advice = (
        "--offline (HF_HUB_OFFLINE) forbids the download: prepare it once with a network, or name files"
        if is_offline
        else "check the network, or name files of your own in data.corpus"
    )
    assert advice in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_hub_that_hangs_is_given_up(tiny_config: Path, tmp_path: Path, datasets: dict[str, Path]) -> None:
    with Host(tmp_path / "none") as host:
        host.routes.append(hub(datasets=datasets))
        host.fault(f"api/{TALKS}/revision/main", Fault(times=None, silent=True))
        done = prepare(tiny_config, tmp_path, host.address, "--corpus", "talks", HF_HUB_ETAG_TIMEOUT="1")
    assert done.returncode == 2, done.stderr
    assert f"{CATALOGUE['talks'].repository}: {host.address} failed: " in done.stderr
    assert "timed out; check the network" in done.stderr
    assert "Traceback" not in done.stderr
