"""The real preset from an empty folder to its tables, against a stand-in of all its hosts.

Corpora, BETO, two CLIPs, Multilingual-CLIP, both Marian models, captions and archives of images are toys in
the layouts of their homes; preset, commands and clients are those of a user.
"""

import json
import subprocess
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import warm_start
import yaml
from caption_sets import write_crossmodal, write_xflickrco
from foreign_models import write_beto, write_clip, write_marian, write_mclip
from hosts import Host
from hub import hub, write_catalogue
from tiny import NOUNS, sentence_pairs, write_captioned_images, write_lines, write_picture, write_tsv

import themo as package
from themo.config.settings import load

PRESET = "vit-l-14-beto"
N_IMAGES, N_CLASSES = 10, 3


def serve_test_data(folder: Path) -> None:
    """XTD10's captions, and both archives, at the paths that `write_config` names."""
    write_captioned_images(folder, N_IMAGES)
    (folder / "xtd10").rename(folder / "XTD10")
    with tarfile.open(folder / "coco.tar.gz", "w:gz") as archive:
        for part in ("train2014", "val2014"):
            archive.add(folder / "mscoco" / part, part)
    write_xflickrco(folder, N_IMAGES)
    write_crossmodal(folder, N_IMAGES)
    with zipfile.ZipFile(folder / "captions.zip", "w") as captions:
        captions.write(folder / "xm3600" / "captions.jsonl", "captions.jsonl")
    random = np.random.default_rng(0)
    root = folder / "imagenet"
    for i in range(2 * N_CLASSES):
        stem = f"ILSVRC2012_val_{i + 1:08d}"
        write_picture(root / "ILSVRC" / "Data" / "CLS-LOC" / "val" / f"{stem}.JPEG", random)
        name = f"<object><name>n0000000{i % N_CLASSES}</name></object>"
        path = root / "ILSVRC" / "Annotations" / "CLS-LOC" / "val" / f"{stem}.xml"
        write_lines(path, [f"<annotation>{name}</annotation>"])
    synsets = [f"n0000000{i} {noun}, thing" for i, noun in zip(range(N_CLASSES), NOUNS, strict=False)]
    write_lines(root / "LOC_synset_mapping.txt", synsets)
    with tarfile.open(folder / "imagenet.tar.gz", "w:gz") as archive:
        for name in ("ILSVRC", "LOC_synset_mapping.txt"):
            archive.add(root / name, name)


def models(folder: Path) -> dict[str, Path]:
    """The preset's models by the names that it gives them; the CLIPs are open_clip's own there."""
    preset = load(preset=PRESET)
    tests = preset.benchmarks
    marian = write_marian(folder / "marian")
    mclip = write_mclip(folder / "mclip")
    return {
        preset.student.backbone: write_beto(folder / "beto"),
        "toy/ViT-L-14": write_clip(folder / "l14"),
        "toy/ViT-B-32": write_clip(folder / "b32", seed=1),
        str(tests.mclip): mclip,
        "base": mclip.parent / "base",
        str(tests.translator): marian,
        str(tests.prompt_translator): marian,
    }


def write_config(path: Path, host: Host) -> Path:
    """The preset; other addresses, toy CLIPs, and little of everything."""
    tree = {
        "preset": PRESET,
        "data": {"validation_pairs": 30},
        "teacher": {"architecture": "hf-hub:toy/ViT-L-14", "pretrained": None},
        "student": {"max_length": 20},
        "training": {"epochs": 2, "report_pairs": 100, "device": "cpu", "threads": 1},
        "benchmarks": {
            "captions_source": host.address,
            "images_source": host.url("coco.tar.gz"),
            "imagenet_source": host.url("imagenet.tar.gz"),
            "xm3600_captions_source": host.url("captions.zip"),
            "xflickrco_captions_source": host.url("xflickrco"),
            "mclip_architecture": "hf-hub:toy/ViT-B-32",
            "mclip_pretrained": None,
        },
    }
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return path


def themo(folder: Path, host: Host, *arguments: str) -> str:
    """Standard output of a command that must end well."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "HF_HOME": str(folder / "hf"),
        "HF_ENDPOINT": host.address,
        "OMP_NUM_THREADS": "1",
        **warm_start.variables(),
        "PYTHONPATH": str(Path(package.__file__).parent.parent),  # the code that is tested here
    }
    command = [*warm_start.PYTHON, "-m", "themo", *arguments]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_from_an_empty_folder_to_the_tables(tmp_path: Path) -> None:
    served = tmp_path / "served"
    serve_test_data(served)
    user = tmp_path / "user"
    user.mkdir()
    with Host(served) as host:
        host.routes.append(hub(models(tmp_path / "models"), write_catalogue(tmp_path / "datasets")))
        config = str(write_config(user / "own.yaml", host))
        plan = json.loads(themo(user, host, "prepare", "--config", config, "--dry-run", "--json"))
        missing = [item["name"] for item in plan["items"] if item["state"].startswith("missing")]
        assert {"corpus opus-100", "student", "mclip", "MSCOCO images", "ImageNet validation"} <= set(missing)
        themo(user, host, "prepare", "--config", config, "--tests")
        plan = json.loads(themo(user, host, "prepare", "--config", config, "--dry-run", "--json"))
        assert [item for item in plan["items"] if item["state"].startswith("missing")] == []
        fetched = len(host.requests)
        themo(user, host, "train", "--config", config, "--batch-size", "32", "--learn-rate", "8e-5")
        write_tsv(user / "captions.tsv", sentence_pairs()[250:])
        weighted = ("0.5*opus-100", "2*talks", "captions.tsv")
        themo(user, host, "train", "--config", config, "--corpus", *weighted)
        repeated = yaml.safe_load((user / f"logs/{PRESET}/version_1/config.yaml").read_text(encoding="utf-8"))
        assert repeated["data"]["corpus"] == list(weighted)
        version = f"logs/{PRESET}/version_0"
        images = (
            "--xm3600-images",
            f"{served}/xm3600/images",
            "--xflickrco-images",
            f"{served}/xflickrco-images",
        )
        test = ("test", "--version-path", version, "--baseline", "--json")
        scores = json.loads(themo(user, host, *test, *images))
        table = themo(user, host, "test", "--baseline", "--config", config)
        assert not [r for r in host.requests[fetched:] if r.method == "GET" and "/resolve/" in r.path]
    assert {"student", "ceiling", "mclip", "translated", "teacher_es"} <= set(scores)
    assert scores["n"] == {"retrieval": N_IMAGES, "accuracy": 2 * N_CLASSES}
    assert set(scores["test_sets"]) == {"xtd10", "xm3600", "xflickrco"}
    assert {"mclip", "translated", "teacher_es"} <= set(scores["differences"])
    assert json.loads((user / version / "test.json").read_text(encoding="utf-8")) == scores
    assert (user / version / "student" / "vocab.txt").exists() or (
        user / version / "student" / "tokenizer.json"
    ).exists()
    for row in ("ceiling", "mclip", "translated", "teacher_es"):
        assert row in table
