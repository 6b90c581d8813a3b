import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from hosts import Fault, Host
from hub import COMMIT, hub
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet
from tiny import sentence_pairs

from themo.catalogue import CATALOGUE, parse_weighted

TALKS = f"datasets/{CATALOGUE['talks'].repository}"


@given(st.floats(0.01, 1000).map(lambda w: f"{w:.2f}"), st.sampled_from(["talks", "a*b.tsv", "/x/2*y.tsv"]))
def test_weights_are_read(weight: str, name: str) -> None:
    assert parse_weighted(f"{weight}*{name}") == (float(weight), name)
    assert parse_weighted(name) == (1.0, name)


def test_a_weight_of_zero() -> None:
    with pytest.raises(ValueError, match="a weight must be greater than 0"):
        parse_weighted("0.0*talks")


@pytest.fixture
def datasets(tmp_path: Path) -> dict[str, Path]:
    """The catalogue's repositories as folders, with a file of another split in each."""
    pairs = sentence_pairs()
    folders = {}
    for i, entry in enumerate(CATALOGUE.values()):
        folder = tmp_path / "hub" / entry.repository
        (folder / "en-es").mkdir(parents=True)
        part = pairs[130 * i : 130 * (i + 1)]
        english, spanish = (column.partition(".") for column in entry.columns)
        if english[2]:
            content = {english[0]: [{english[2]: en, spanish[2]: es} for en, es in part]}
        else:
            content = {english[0]: [en for en, _ in part], spanish[0]: [es for _, es in part]}
        parquet.write_table(pa.table(content), folder / "en-es" / "train-00000-of-00001.parquet")
        parquet.write_table(pa.table({"other": ["x"]}), folder / "en-es" / "test-00000-of-00001.parquet")
        folders[entry.repository] = folder
    return folders


def prepare(
    config: Path, folder: Path, endpoint: str, *names: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    """``themo prepare`` in a process of its own: the hub's client reads its environment at its import."""
    command = [sys.executable, "-m", "themo", "prepare", "--config", str(config), "--corpus", *names]
    environment = {
        "PATH": "/usr/bin:/bin",
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(folder / "hf"),
        "HOME": str(folder),
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        command, env=environment | variables, capture_output=True, text=True, cwd=folder, check=False
    )


@pytest.mark.slow
def test_corpora_come_from_the_hub_once(tiny_config: Path, tmp_path: Path, datasets: dict[str, Path]) -> None:
    names = ("opus-100", "0.5*talks", "2*tatoeba")
    assert list(CATALOGUE) == ["opus-100", "talks", "tatoeba"]
    with Host(tmp_path / "none") as host:
        host.routes.append(hub(datasets=datasets))
        first = prepare(tiny_config, tmp_path, host.address, *names)
        assert first.returncode == 0, first.stderr
        for name in CATALOGUE:
            assert f"Corpus {name}: 1" in first.stderr
        fetched = [
            r.path for r in host.requests if r.method == "GET" and r.path.startswith(f"{TALKS}/resolve")
        ]
        assert len(fetched) == 1
        assert "test-" not in "".join(r.path for r in host.requests)
    again = prepare(tiny_config, tmp_path, host.address, *names, HF_HUB_OFFLINE="1")
    assert again.returncode == 0, again.stderr


@pytest.mark.slow
def test_a_cut_transfer_is_completed(tiny_config: Path, tmp_path: Path, datasets: dict[str, Path]) -> None:
    with Host(tmp_path / "none") as host:
        host.routes.append(hub(datasets=datasets))
        path = f"{TALKS}/resolve/{COMMIT}/en-es/train-00000-of-00001.parquet"
        host.fault(path, Fault(method="GET", cut_after=500))
        done = prepare(tiny_config, tmp_path, host.address, "talks")
    assert done.returncode == 0, done.stderr
    assert "Corpus talks: 130 of 130 pairs kept" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("variables", [{}, {"HF_HUB_OFFLINE": "1"}])
def test_without_a_network(tiny_config: Path, tmp_path: Path, variables: dict[str, str]) -> None:
    with Host(tmp_path) as host:
        pass  # its port is free again: connections are refused
    done = prepare(tiny_config, tmp_path, host.address, "talks", **variables)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(
        f"Error: corpus {CATALOGUE['talks'].repository}: cannot be fetched from {host.address}: "
    )
    assert "check the network, or name files of your own in data.corpus" in done.stderr
    assert "Traceback" not in done.stderr
