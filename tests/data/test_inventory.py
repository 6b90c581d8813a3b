import json
from pathlib import Path

import pytest
from hosts import Host
from hub import hub, prepare, write_catalogue
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
