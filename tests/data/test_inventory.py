import json
from pathlib import Path

import pytest
from hosts import Host
from hub import COMMIT, hub, prepare, write_catalogue
from huggingface_hub import constants
from rich.filesize import decimal
from tiny import SettingsFactory

from themo.config.catalogue import CATALOGUE
from themo.data.inventory import inventory


def test_parts_on_this_machine_are_listed(settings: SettingsFactory) -> None:
    states = {item.name: item.state for item in inventory(settings(), offline=True)}
    assert set(states.values()) == {"there"}
    missing = settings(corpus=["nosuch.tsv"], architecture="./nosuch", backbone="miniature:student")
    states = {item.name: item.state for item in inventory(missing, offline=True)}
    assert states == {
        "corpus": "missing: no such file or folder",
        "teacher": "missing: no such file or folder",
        "student": "missing: made by Themo at first use",
    }


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache, without files."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def cache(folder: Path, file: str) -> None:
    """Put a file into the cached folder of a repository."""
    for name, content in ((f"refs/{constants.DEFAULT_REVISION}", COMMIT), (f"snapshots/{COMMIT}/{file}", "")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")


def test_a_student_without_weights_needs_none(settings: SettingsFactory, hub_cache: Path) -> None:
    cache(hub_cache / "models--owner--bert", "config.json")
    for with_weights, state in ((False, "there"), (True, f"missing: from {constants.ENDPOINT}")):
        config = settings(backbone="owner/bert", backbone_weights=with_weights)
        states = {item.name: item.state for item in inventory(config, offline=True)}
        assert states["student"] == state


def test_validation_pairs_of_the_hub_are_found_there(settings: SettingsFactory, hub_cache: Path) -> None:
    config = settings(validation="tatoeba")
    states = {item.name: item.state for item in inventory(config, offline=True)}
    assert states["validation tatoeba"] == f"missing: from {constants.ENDPOINT}"
    repository = CATALOGUE["tatoeba"].repository.replace("/", "--")
    cache(hub_cache / f"datasets--{repository}", "en-es/train-0.parquet")
    states = {item.name: item.state for item in inventory(config, offline=True)}
    assert states["validation tatoeba"] == "there"
    assert "validation" not in states


@pytest.mark.slow
def test_a_dry_run_fetches_nothing(tiny_config: Path, tmp_path: Path) -> None:
    datasets = write_catalogue(tmp_path / "hub")
    arguments = ["--corpus", "talks", "--dry-run", "--json"]
    with Host(tmp_path / "none") as host:
        host.routes.append(hub(datasets=datasets))
        done = prepare(tiny_config, tmp_path, host.address, *arguments)
        assert done.returncode == 0, done.stderr
        items = {item["name"]: item for item in json.loads(done.stdout)["items"]}
        talks = CATALOGUE["talks"]
        (served,) = datasets[talks.repository].glob(talks.files)
        size = decimal(served.stat().st_size)
        assert items["corpus talks"]["state"] == f"missing: {size} from {host.address}"
        assert items["student"]["state"] == "there"
        assert not [r for r in host.requests if "resolve" in r.path]
    away = prepare(tiny_config, tmp_path, host.address, *arguments)
    items = {item["name"]: item["state"] for item in json.loads(away.stdout)["items"]}
    assert items["corpus talks"].startswith("missing, size unknown: ")
    assert items["corpus talks"].endswith("; check the network")
    assert items["student"] == "there"
    offline = prepare(tiny_config, tmp_path, host.address, *arguments, "--offline")
    assert json.loads(offline.stdout)["items"][0]["state"] == f"missing: from {host.address}"
