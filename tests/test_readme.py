"""What the README tells people to type does what it says there."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from importlib import import_module
from io import StringIO
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import warm_start
import yaml
from tiny import ADJECTIVES, NOUNS, TINY_MINIATURE, VERBS, write_picture, write_version_of

import themo
from themo.cli import main as cli
from themo.cli.commands import NAMES
from themo.cli.main import parse
from themo.config.settings import Settings, load
from themo.evaluation.prompts import fill_templates
from themo.files.cache import Cache

PROJECT = Path(themo.__file__).parents[1]
README = (PROJECT / "README.md").read_text(encoding="utf-8")

ELSEWHERE = {
    "make tune": ".ci",  # they install what the tests run in
    "make test": ".ci",
    "make check": ".ci",
    "make fast": ".ci",
    "make bench": "tests/test_benchmark_scripts.py",
    "pre-commit install": ".pre-commit-config.yaml",
    "python -m themo train --preset vit-l-14-beto --corpus 0.5*opus-100 2*talks captions.tsv": (
        "tests/test_real_recipe.py"  # of toy models, from hosts of this machine
    ),
    "make .env": "tests/deployment/test_compose.py",
    "docker compose up --detach --build --scale worker=2": "tests/deployment/test_compose.py",
    "docker compose run --rm tune --name first --num-samples 32 --gpus-per-trial 1": (
        "tests/deployment/test_compose.py"
    ),
}
"""Commands that are run by other tests, or run these."""


def console_commands() -> list[str]:
    blocks = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    lines = [line.partition("#")[0].strip() for block in blocks for line in block.splitlines()]
    return [" ".join(line.split()) for line in lines if line]


EXECUTED = [command for command in console_commands() if command not in ELSEWHERE]


def test_no_command_is_left_out() -> None:
    assert not ELSEWHERE.keys() - set(console_commands())
    assert all((PROJECT / path).exists() for path in ELSEWHERE.values())
    assert all(command.startswith("python -m themo ") for command in EXECUTED)
    assert len(EXECUTED) >= 10


ABRIDGED = {
    "train --config": "train --config best.yaml",
    "export --format F": "export --version-path VERSION --format onnx --output F",
}
"""What the text names of a command, and how it may go on."""

OF_DOCKER = {"--scale", "--rm", "--detach", "--no-deps"}


def code_in_the_text() -> list[str]:
    """What stands in backticks, tables and lists too."""
    prose = " ".join(re.sub(r"```.*?```", "", README, flags=re.DOTALL).split())
    return list(dict.fromkeys(re.findall(r"`([^`]+)`", prose)))


def test_commands_in_the_text_are_ones_that_there_are() -> None:
    told = [text.rpartition("python -m themo ")[2] for text in code_in_the_text()]
    told = [text for text in told if len(text.split()) > 1 and text.split()[0] in NAMES]
    assert len(told) > 10
    assert ABRIDGED.keys() <= set(told)
    for text in told:
        assert parse(shlex.split(ABRIDGED.get(text, text))).command == text.split()[0]


def test_options_in_the_text_are_ones_that_there_are() -> None:
    known = set(re.findall(r"--[a-z][a-z0-9-]*", "".join(map(help_of, NAMES)) + help_of()))
    told = {option for text in code_in_the_text() for option in re.findall(r"(?<!\S)--[a-z][a-z0-9-]*", text)}
    assert len(told) > 30
    assert told - known == OF_DOCKER


def help_of(*command: str) -> str:
    with pytest.raises(SystemExit), redirect_stdout(StringIO()) as out:
        parse([*command, "--help"])
    return out.getvalue()


@pytest.mark.parametrize("name", [None, *NAMES])
def test_the_examples_of_the_help_are_command_lines(name: str | None) -> None:
    module = cli if name is None else import_module(f"themo.cli.commands.{name}")
    lines = [line for line in module.EXAMPLES.replace("\\\n", "").splitlines() if line.startswith("  ")]
    assert lines
    for line in lines:
        words = shlex.split(re.split(r"\bthemo ", line, maxsplit=1)[1].partition(">")[0].partition(")")[0])
        assert parse(words).command == words[0]
        assert name in (None, words[0])


def block_of(language: str, beginning: str) -> str:
    """The one block of code of a language that begins so."""
    blocks = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    (block,) = [block for block in blocks if block.startswith(beginning)]
    return str(block)


def test_every_block_is_looked_at() -> None:
    languages = re.findall(r"```(\w+)\n", README)
    assert {language: languages.count(language) for language in ("python", "yaml")} == {
        "python": 1,
        "yaml": 3,
    }
    assert set(languages) <= {"console", "text", "python", "yaml"}


def test_the_program_does_what_its_comments_say(
    tiny_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = block_of("python", "import themo")
    write_version_of(tiny_settings, tmp_path / "logs" / "miniature" / "version_3", dimension=12)
    for name in ("a.jpg", "b.jpg"):
        write_picture(tmp_path / name, np.random.default_rng(0))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    *_, last = program.splitlines()
    exec(program.replace(last, f"cosines = {last}"), names)  # noqa: S102 -- our own
    assert [names[name].shape for name in ("texts", "images", "cosines")] == [(1, 12), (2, 12), (1, 2)]
    assert names["texts"].dtype == np.float32


def test_settings_of_ones_own_are_read_as_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = block_of("yaml", "# my.yaml, for: ")
    (tmp_path / "my.yaml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    command = text.splitlines()[0].partition("python -m themo ")[2]
    options = parse(shlex.split(command))
    settings = load(options.config, options.preset, options.settings)
    own = {"pooling": "first", "epochs": 4, "objective": "val/cosine", "learn_rate": 5e-4}
    assert settings == load(preset="miniature", overrides=own)


def test_an_own_corpus_as_a_file_leaves_the_rest_to_the_preset(tmp_path: Path) -> None:
    (tmp_path / "ours.yaml").write_text(block_of("yaml", "preset: vit-l-14-beto\n"), encoding="utf-8")
    settings = load(config=tmp_path / "ours.yaml")
    own = {"corpus": ["pairs.tsv", "2*talks"], "validation": "held-out.tsv", "batch_size": 128}
    assert settings == load(preset="vit-l-14-beto", overrides=own)


def test_names_of_classes_are_read_as_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = block_of("yaml", "benchmarks:")
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


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the program whose miniature is built in seconds, and what the README takes for granted."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("themo", "tune", "configs"):
        shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    preset = folder / "configs" / "miniature.yaml"
    tree = yaml.safe_load(preset.read_text(encoding="utf-8"))
    tree["miniature"] = tree.get("miniature", {}) | TINY_MINIATURE
    preset.write_text(yaml.safe_dump(tree), encoding="utf-8")
    pictures = folder / "home" / "Pictures"
    pictures.mkdir(parents=True)
    random = np.random.default_rng(0)
    for i in range(6):
        write_picture(pictures / f"{i}.jpg", random)
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
    vectors = random.standard_normal((len(pairs), 24), dtype=np.float32)
    np.save(folder / "vectors.npy", vectors)
    return folder


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_command_does_its_work(project: Path) -> None:
    """One after the other, in the README's order, as a person would."""
    folders = (warm_start.on_path(project / "home"), Path(sys.executable).parent)
    environment = os.environ | {
        "HOME": str(project / "home"),
        "PATH": os.pathsep.join([*map(str, folders), os.environ["PATH"]]),
    }
    for command in EXECUTED:
        searches = sorted((project / "logs" / "tune").glob("*"), key=lambda path: path.stat().st_mtime)
        line = command.replace("NAME", searches[-1].name if searches else "NAME")
        done = subprocess.run(
            ["/bin/bash", "-c", line],
            cwd=project,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    assert (project / "es" / "modules.json").is_file()
    assert (project / "found.html").is_file()
    first, second = sorted((project / "logs" / "tune").iterdir())
    assert (first / "report.html").is_file()
    assert len((second / "trials.csv").read_text(encoding="utf-8").splitlines()) == 1 + 16
