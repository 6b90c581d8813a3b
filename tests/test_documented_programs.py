"""Every block of code in README and docs runs, or is read by the program that it is written for."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pyarrow
import pyarrow.parquet
import pytest
import warm_start
import yaml
from documents import PAGES, PROJECT, blocks, console_commands, name_of
from tiny import ADJECTIVES, NOUNS, TINY_MINIATURE, VERBS, write_picture, write_version_of

from themo.cli.main import parse
from themo.config.settings import Settings, load
from themo.evaluation.prompts import fill_templates
from themo.files.cache import Cache
from tune.space import search_space

INSTALLS = ".ci/run"
COMPOSE = "tests/deployment/test_compose.py"
REAL = "tests/test_real_recipe.py"

COVERED = {
    "make tune": INSTALLS,  # they install what the tests run in
    "make test": INSTALLS,
    "make check": INSTALLS,
    "make fast": INSTALLS,
    "python3 -m venv .venv && source .venv/bin/activate": "Makefile",
    "pip install --constraint requirements.lock .": "tests/deployment/test_image.py",
    ".venv/bin/uv pip install --constraint requirements.lock --editable '.[export]'": (
        "tests/cli/test_export_command.py"
    ),
    # of toy models, from hosts of this machine
    "python -m themo train --preset vit-l-14-beto --corpus 0.5*opus-100 2*talks captions.tsv": REAL,
    "python -m themo prepare --preset vit-l-14-beto --tests --dry-run": REAL,
    "python -m themo prepare --preset vit-l-14-beto --tests": REAL,
    "python -m themo train --preset vit-l-14-beto": REAL,
    "python -m themo test --version-path logs/vit-l-14-beto/version_0 --baseline --report": REAL,
    "python -m themo test logs/vit-l-14-beto/version_0 --xm3600-images XM3600 --xflickrco-images XFLICKRCO": (
        REAL
    ),
    "python -m themo tune --preset vit-l-14-beto --name beto --num-samples 32": (
        "tests/tune/test_tune_command.py"
    ),
    "python -m themo export --version-path beto --format sentence-transformers --output clip-es": (
        "tests/cli/test_export_command.py"
    ),
    # it runs until Ctrl-C
    "python -m themo search --serve --images ~/Pictures": "tests/cli/test_served_search.py",
    # searches take the longest: two whole ones and a resume are executed
    "python -m themo tune --num-samples 4 --searcher gp --scheduler pausing-asha --name gp": (
        "tests/tune/schedulers/test_pausing.py"
    ),
    "python -m themo tune --searcher forecast --scheduler freeze-thaw --name forecast": (
        "tests/tune/schedulers/test_freeze_thaw.py"
    ),
    "python -m themo tune --num-samples 4 --scheduler pbt --name population": (
        "tests/tune/schedulers/test_population.py"
    ),
    "python -m themo tune --space sizes.yaml --trial-seconds 90s --num-samples 4 --name sizes": (
        "tests/tune/driver/test_seconds_of_sizes.py"
    ),
    "python -m themo tune --space front.yaml --num-samples 4 --name front": (
        "tests/tune/driver/test_fronts_of_searches.py"
    ),
    "python -m themo tune --space front.yaml --second-objective ms --num-samples 4 --name front-ms": (
        "tests/tune/driver/test_fronts_of_searches.py"
    ),
    "python -m themo tune --space sizes.yaml --trial-seconds 10m --time-budget 6h --name by-six": (
        "tests/tune/driver/test_seconds_of_sizes.py"
    ),
    "python -m themo tune --warm-start long --num-samples 2 --name long-again": (
        "tests/tune/driver/test_warm_start.py"
    ),
    "python -m themo tune --repeat long --search-seed 1 --name long-other-seed --num-samples 2": (
        "tests/tune/driver/test_request.py"
    ),
    "python -m themo report long --follow": "tests/tune/results/report/test_follow.py",  # ends by Ctrl-C
    "python -m themo report long gp": "tests/tune/results/report/test_two_searches.py",
    "make .env": COMPOSE,
    "docker compose up --detach --build --scale worker=2": COMPOSE,
    "docker compose run --rm tune --name first --num-samples 32 --gpus-per-trial 1": COMPOSE,
    "export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$HOME/.ray/auth_token": COMPOSE,
    "python -m themo tune --address auto --storage-path s3://bucket/themo --name first --num-samples 32": (
        "tests/tune/cluster/test_object_storage.py"
    ),
    "ray job submit --address http://HEAD:8265 -- python -m themo tune --address auto "
    "--storage-path s3://bucket/themo --name first": COMPOSE,
    "mlflow ui --backend-store-uri sqlite:///$PWD/logs/mlflow.db": "tests/tracking/test_uri.py",
    "MLFLOW_TRACKING_URI=http://127.0.0.1:5000 python -m themo tune --num-samples 32": (
        "tests/tune/study/test_tracking_place.py"
    ),
}
"""Commands of the pages that are not executed here, and the file that runs them or such as these."""

LANGUAGES = {"console", "text", "python", "yaml", "bash"}

each_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


def blocks_of(language: str) -> dict[str, str]:
    """Blocks of a language by page and number, each content once."""
    found: dict[str, str] = {}
    for page in PAGES:
        for i, (spoken, text) in enumerate(blocks(page)):
            if spoken == language and text not in found.values():
                found[f"{name_of(page)}:{i}"] = text
    return found


def block(language: str, beginning: str) -> str:
    """The one block of a language that begins so."""
    (text,) = [text for text in blocks_of(language).values() if text.startswith(beginning)]
    return text


COMMANDS = list(dict.fromkeys(command for page in PAGES for command in console_commands(page)))
EXECUTED = [command for command in COMMANDS if command not in COVERED]


def test_each_command_is_executed_or_covered() -> None:
    assert not COVERED.keys() - set(COMMANDS)
    assert all((PROJECT / path).exists() for path in COVERED.values())
    assert all(command.startswith("python -m themo ") for command in EXECUTED)
    assert len(EXECUTED) > 15


@pytest.mark.parametrize("command", [command for command in COMMANDS if "python -m themo " in command])
def test_commands_are_parsed(command: str) -> None:
    words = shlex.split(command.rpartition("python -m themo ")[2])
    assert parse(words).command == words[0]


@each_page
def test_languages_of_blocks_are_known(page: Path) -> None:
    assert {language for language, _ in blocks(page)} <= LANGUAGES


def test_settings_of_a_file_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = block("yaml", "# my.yaml, for: ")
    (tmp_path / "my.yaml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    options = parse(shlex.split(text.splitlines()[0].partition("python -m themo ")[2]))
    own = {"pooling": "first", "epochs": 4, "objective": "val/cosine", "learn_rate": 5e-4}
    settings = load(options.config, options.preset, options.settings)
    assert settings == load(preset="miniature", overrides=own)


def test_search_space_of_a_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = block("yaml", "# space.yaml, for: ")
    (tmp_path / "space.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "my.yaml").write_text(block("yaml", "# my.yaml, for: "), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    options = parse(shlex.split(text.splitlines()[0].partition("python -m themo ")[2]))
    space = search_space.load(options.space, load(options.config))
    assert set(space.dimensions) == set(yaml.safe_load(text)["space"])
    assert set(space.conditions) == {"temperature"}
    assert space.search.grace_share == 0.05
    assert len(space.first) == 2
    assert space.search.num_samples == 8


def test_conditional_space_of_a_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = block("yaml", "# widths.yaml, for: ")
    (tmp_path / "widths.yaml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    options = parse(shlex.split(text.splitlines()[0].partition("python -m themo ")[2]))
    space = search_space.load(options.space, load(preset=options.preset))
    assert space.active({"backbone_weights": True, "hidden_size": 256}) == {"backbone_weights": True}
    assert set(space.conditions) == {"hidden_size"}


def test_own_corpus_in_a_file_leaves_the_rest_to_the_preset(tmp_path: Path) -> None:
    (tmp_path / "ours.yaml").write_text(block("yaml", "preset: vit-l-14-beto\ndata:"), encoding="utf-8")
    own = {"corpus": ["pairs.tsv", "2*talks"], "validation": "held-out.tsv", "batch_size": 128}
    assert load(config=tmp_path / "ours.yaml") == load(preset="vit-l-14-beto", overrides=own)


def test_another_teacher_and_backbone_keep_the_other_settings(tmp_path: Path) -> None:
    (tmp_path / "ours.yaml").write_text(block("yaml", "preset: vit-l-14-beto\npaths:"), encoding="utf-8")
    settings = load(config=tmp_path / "ours.yaml")
    assert settings.teacher.pretrained == "laion2b_s13b_b82k"
    assert (settings.teacher.architecture, settings.teacher.pretrained) in open_clip.list_pretrained()
    assert settings.training == load(preset="vit-l-14-beto").training


def test_names_of_classes_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = block("yaml", "benchmarks:")
    (tmp_path / "my.yaml").write_text(f"preset: vit-l-14-beto\n{text}", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    benchmarks = load(config=Path("my.yaml")).benchmarks
    for file, header, row in re.findall(r"(\w+\.tsv) +# (.*?): +(.*)", text):
        lines = (re.sub(r" <tab> ", "\t", header), re.sub(r" {2,}", "\t", row))
        Path(file).write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert benchmarks.class_names is not None
    assert benchmarks.templates is not None
    prompts = fill_templates(Cache(tmp_path), Path(benchmarks.class_names), Path(benchmarks.templates))
    assert prompts.read_text(encoding="utf-8").splitlines()[1:] == [
        "n01440764\ta photo of a tench\tuna foto de una tenca"
    ]


def test_job_of_kubernetes_has_the_operators_fields() -> None:
    job = yaml.safe_load(block("yaml", "apiVersion: ray.io/v1"))
    assert job["kind"] == "RayJob"
    words = shlex.split(job["spec"]["entrypoint"].partition("python -m themo ")[2])
    assert parse(words).address == "auto"
    cluster = job["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    specs = [group["template"]["spec"] for group in groups]
    assert all(spec["containers"][0]["image"].endswith("/themo:latest") for spec in specs)
    mounted = {mount["mountPath"] for mount in specs[0]["containers"][0]["volumeMounts"]}
    assert mounted == {"/themo/logs", "/themo/data"}  # folders of the image
    assert {m["name"] for m in specs[0]["containers"][0]["volumeMounts"]} == {
        volume["name"] for volume in specs[0]["volumes"]
    }


def test_space_with_a_condition_is_read(tmp_path: Path) -> None:
    path = tmp_path / "widths.yaml"
    path.write_text(block("yaml", "# widths"), encoding="utf-8")
    space = search_space.load(path, load(preset="vit-l-14-beto"))
    settings = {"backbone_weights": True, "hidden_size": 256, "learn_rate": 1e-3}
    assert "hidden_size" not in space.active(settings)
    assert "hidden_size" in space.active(settings | {"backbone_weights": False})


def test_space_of_sizes_is_read(tmp_path: Path) -> None:
    path = tmp_path / "sizes.yaml"
    path.write_text(block("yaml", "# sizes"), encoding="utf-8")
    search = search_space.load(path, load()).search
    assert (search.resource, search.first_rung) == ("seconds", 6.0)


def test_space_of_two_objectives_is_read(tmp_path: Path) -> None:
    path = tmp_path / "front.yaml"
    path.write_text(block("yaml", "# front"), encoding="utf-8")
    assert search_space.load(path, load()).search.second_objective == "mb"


def test_settings_of_nested_widths_are_read(tmp_path: Path) -> None:
    path = tmp_path / "nested.yaml"
    path.write_text(block("yaml", "# nested"), encoding="utf-8")
    assert load(config=path).loss.nested_widths == (8, 16)


def test_yaml_blocks_are_all_looked_at() -> None:
    preset = "preset: vit-l-14-beto"
    seen = (
        "# my",
        "# space",
        "# widths",
        "# sizes",
        "# front",
        "# nested",
        f"{preset}\ndata",
        f"{preset}\npaths",
        "benchmarks:",
        "apiVersion: ray.io/v1",
    )
    assert all(text.startswith(seen) for text in blocks_of("yaml").values())
    assert len(blocks_of("yaml")) == len(seen)


STAND_IN = """#!/bin/sh
echo "$(basename "$0") $*" >> calls
case "$*" in
  *--block*) exec sleep 60 ;;
  *getent*) [ -z "$RESOLVED" ] || echo "$RESOLVED STREAM node1" ;;
esac
"""


def slurm_job(folder: Path) -> list[str]:
    """Write the batch script with recording stand-ins for its programs; return its command."""
    (script,) = blocks_of("bash").values()
    (folder / "themo.sbatch").write_text(script, encoding="utf-8")
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "activate").write_text(f"PATH={programs}:$PATH\n", encoding="utf-8")
    for name in ("ray", "srun", "python"):
        (programs / name).write_text(STAND_IN, encoding="utf-8")
        (programs / name).chmod(0o755)
    return ["/bin/bash", "themo.sbatch"]


def of_slurm(n_nodes: int, resolved: str) -> dict[str, str]:
    """The environment of a batch script; other nodes resolve the first node's name to `resolved`."""
    slurm = {"SLURM_CPUS_PER_TASK": "16", "SLURM_GPUS_ON_NODE": "4", "SLURM_JOB_NUM_NODES": str(n_nodes)}
    return os.environ | slurm | {"SLURMD_NODENAME": "node1", "RESOLVED": resolved}


@pytest.mark.parametrize(("nodes", "exists"), [(1, False), (3, True)])
def test_slurm_job_starts_a_cluster_and_a_search(tmp_path: Path, nodes: int, exists: bool) -> None:
    """The batch script is real, Slurm and Ray are replaced: both record their arguments."""
    command = slurm_job(tmp_path)
    head = "127.0.0.1" if nodes == 1 else "10.0.0.7"
    if exists:
        (tmp_path / "logs/tune/first").mkdir(parents=True)
    with subprocess.Popen(
        command, cwd=tmp_path, env=of_slurm(nodes, "10.0.0.7"), start_new_session=True
    ) as job:
        assert job.wait(30) == 0
        called = (tmp_path / "calls").read_text
        until = time.monotonic() + 30
        while nodes > 1 and "--block" not in called(encoding="utf-8") and time.monotonic() < until:
            time.sleep(0.05)  # the workers start beside the search
        with suppress(ProcessLookupError):
            os.killpg(job.pid, signal.SIGTERM)  # as Slurm ends a job
    everything = called(encoding="utf-8").splitlines()
    calls = [call for call in everything if not call.startswith("srun")]
    assert calls[0] == "ray get-auth-token --generate"
    assert calls[1] == f"ray start --head --node-ip-address={head} --port=6379 --num-cpus=16 --num-gpus=4"
    search = parse(shlex.split(calls[2].removeprefix("python -m themo ")))
    assert search.address == f"{head}:6379"
    assert (search.resume, search.name) == (("first", None) if exists else (None, "first"))
    assert len(calls) == 3
    resolves = [call for call in everything if "getent" in call]
    expected = "srun --nodes=1 --ntasks=1 --exclude=node1 getent ahostsv4 node1"
    assert resolves == [expected] * (nodes > 1)
    workers = [call for call in everything if call.startswith("srun") and call not in resolves]
    assert len(workers) == (nodes > 1)
    assert all("--exclude=node1 " in call and "--cpus-per-task=16 " in call for call in workers)
    assert all("--ntasks=2" in call and "--address=10.0.0.7:6379 --block" in call for call in workers)


@pytest.mark.parametrize("resolved", ["", "127.0.1.1"])
def test_slurm_job_refuses_a_loopback_address(tmp_path: Path, resolved: str) -> None:
    done = subprocess.run(
        slurm_job(tmp_path), cwd=tmp_path, env=of_slurm(3, resolved), capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr == f"node1: needs an address that other nodes reach, got '{resolved}'\n"
    assert "ray" not in (tmp_path / "calls").read_text(encoding="utf-8")


@pytest.mark.parametrize("program", blocks_of("python").values(), ids=blocks_of("python"))
def test_programs_are_short(program: str) -> None:
    compile(program, "program", "exec")
    lines = [
        line for line in program.splitlines() if line.strip() and not line.startswith(("import", "from"))
    ]
    assert len(lines) <= 20


def test_first_program_returns_vectors_of_the_stated_shapes(
    tiny_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (_, program), *_ = [found for found in blocks(PROJECT / "docs/index.md") if found[0] == "python"]
    write_version_of(tiny_settings, tmp_path / "logs" / "miniature" / "version_0", dimension=12)
    for name in ("a.jpg", "b.jpg"):
        write_picture(tmp_path / name, np.random.default_rng(0))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(program, names)  # noqa: S102 -- our own
    stated = re.findall(r"^(\w+) = .*# \((\w+), D\)", program, re.MULTILINE)
    assert stated == [("texts", "1"), ("images", "2")]
    for name, length in stated:
        assert names[name].shape == (int(length), 12)
        assert names[name].dtype == np.float32


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the program whose miniature is built in seconds, and the files that the pages name."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("themo", "tune", "configs"):
        shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    preset = folder / "configs" / "miniature.yaml"
    tree = yaml.safe_load(preset.read_text(encoding="utf-8"))
    tree["miniature"] = tree.get("miniature", {}) | TINY_MINIATURE
    preset.write_text(yaml.safe_dump(tree), encoding="utf-8")
    (folder / "bin").mkdir()
    random = np.random.default_rng(0)
    for name in [*(f"home/Pictures/{i}.jpg" for i in range(6)), "a.jpg", "b.jpg", "beach.jpg"]:
        write_picture(folder / name, random)
    pairs = [
        (f"the {adjective} {noun} {verb} at {hour}", f"el {noun_es} {adjective_es} {verb_es} a las {hour}")
        for (noun, noun_es), (adjective, adjective_es), (verb, verb_es), hour in product(
            NOUNS.items(), ADJECTIVES.items(), VERBS.items(), range(2, 10)
        )
    ]
    lines = ["en\tes", *("\t".join(pair) for pair in pairs)]
    (folder / "pairs.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    columns = {"english": [en for en, _ in pairs], "spanish": [es for _, es in pairs]}
    pyarrow.parquet.write_table(pyarrow.table(columns), folder / "pairs.parquet")
    np.save(folder / "vectors.npy", random.standard_normal((len(pairs), 24), dtype=np.float32))
    return folder


def run_in(project: Path, *command: str) -> None:
    """Run a command in the copy, as a person would."""
    folders = (warm_start.on_path(project / "bin"), Path(sys.executable).parent)
    environment = os.environ | {
        "PATH": os.pathsep.join([*map(str, folders), os.environ["PATH"]]),
        "PYTHONPATH": str(project),
        "MPLBACKEND": "agg",
    }
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command[-1]}\n{done.stdout}\n{done.stderr}"


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_commands_and_programs_run_in_the_order_of_the_pages(project: Path) -> None:
    for command in EXECUTED:
        searches = sorted((project / "logs" / "tune").glob("*"), key=lambda path: path.stat().st_mtime)
        command = command.replace("NAME", searches[-1].name if searches else "NAME")
        # another HOME would make all programs import transformers again
        run_in(project, "/bin/bash", "-c", command.replace("~/", f"{project}/home/"))
    assert (project / "es" / "modules.json").is_file()
    assert (project / "found.html").is_file()
    for number, program in enumerate(blocks_of("python").values()):
        path = project / f"program_{number}.py"
        path.write_text(re.sub(r"version_\d+", "version_0", program), encoding="utf-8")
        run_in(project, *warm_start.PYTHON, str(path))
    assert (project / "logs/by-parts/config.yaml").is_file()
    assert (project / "logs/tune/by-hand/best.yaml").is_file()
