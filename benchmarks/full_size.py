"""Runs every stage of the real recipe once at full size, with random weights.

ViT-L/14 as teacher, BETO as student, XLM-R large as Multilingual-CLIP: targets, one training step, test with
the baseline. Each stage is a process of its own, whose time and memory are measured. With random weights the
scores mean nothing; the benchmark shows that the stages run, and how much memory they need.

    python -m benchmarks full_size --beto FOLDER
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import open_clip
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import AutoModel, XLMRobertaConfig

from benchmarks.measure import Options, Row
from benchmarks.memory import Memory, Peak
from themo.config import settings as config
from themo.models.backbones import load_config

TEACHER, BASELINE_IMAGES = "ViT-L-14-quickgelu", "ViT-B-32-quickgelu"
XLM_R_LARGE = XLMRobertaConfig(
    vocab_size=250_002,
    hidden_size=1024,
    num_hidden_layers=24,
    num_attention_heads=16,
    intermediate_size=4096,
    max_position_embeddings=514,
    type_vocab_size=1,
)
N_PAIRS, N_IMAGES, BATCH_SIZE = 256, 32, 32
STAGES = ("targets", "training step", "test")


def run(options: Options) -> list[Row]:
    """Rows with seconds and peak memory of each stage."""
    refusal = options.why_no_real_data()
    if refusal is not None or options.beto is None or options.tatoeba is None:
        return [Row("full size", None, "s", detail=refusal or "")]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_models(folder, options.beto, options.seed)
        write_data(folder, options.tatoeba)
        rows = []
        for stage in STAGES:
            command = [sys.executable, "-m", "benchmarks.full_size", stage, str(folder), str(options.threads)]
            out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            seconds, resident = json.loads(out.splitlines()[-1])
            rows.append(
                Row(
                    f"full size, {stage}",
                    seconds,
                    "s",
                    detail=f"peak memory {resident / 1e9:.2f} GB",
                    seeds=(options.seed,),
                )
            )
        return rows


def write_models(folder: Path, beto: Path, seed: int) -> None:
    """Write teacher, baseline's image tower, BETO and M-CLIP in the layouts of their publishers."""
    torch.manual_seed(seed)
    for architecture in (TEACHER, BASELINE_IMAGES):
        target = folder / architecture
        target.mkdir()
        model = open_clip.create_model(architecture)
        description = {"model_cfg": open_clip.get_model_config(architecture), "preprocess_cfg": {}}
        (target / "open_clip_config.json").write_text(json.dumps(description))
        save_file(
            {name: t.contiguous() for name, t in model.state_dict().items()},
            target / "open_clip_model.safetensors",
        )
    student = folder / "beto"
    student.mkdir()
    for file in ("config.json", "vocab.txt"):
        (student / file).write_bytes((beto / file).read_bytes())
    weights = AutoModel.from_config(load_config(str(beto))).state_dict()
    torch.save({f"bert.{name}": tensor for name, tensor in weights.items()}, student / "pytorch_model.bin")
    base, mclip = folder / "xlm-roberta-large", folder / "mclip"
    base.mkdir()
    mclip.mkdir()
    XLM_R_LARGE.to_json_file(base / "config.json", use_diff=False)
    described = {"modelBase": str(base), "numDims": 512, "transformerDimensions": 1024}
    (mclip / "config.json").write_text(json.dumps({"model_type": "M-CLIP", **described}))
    _write_tokenizer(mclip, beto)
    encoder = AutoModel.from_config(XLM_R_LARGE, add_pooling_layer=False).state_dict()
    linear = torch.nn.Linear(1024, 512).state_dict()
    torch.save(
        {f"transformer.{name}": t for name, t in encoder.items()}
        | {f"LinearTransformation.{name}": t for name, t in linear.items()},
        mclip / "pytorch_model.bin",
    )


def _write_tokenizer(folder: Path, beto: Path) -> None:
    """Write a tokenizer of XLM-R's type with BETO's vocabulary, in place of the real one."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    pieces = (beto / "vocab.txt").read_text(encoding="utf-8").split("\n")
    specials = ["<s>", "<pad>", "</s>", "<unk>"]
    vocabulary = [(piece, 0.0) for piece in specials]
    vocabulary += [("\u2581" + p, -8.0) for p in pieces if p.isalpha()] + [("\u2581", -9.0)]
    tokenizer = Tokenizer(models.Unigram(list(dict(vocabulary).items()), unk_id=3))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    tokenizer.save(str(folder / "tokenizer.json"))
    names = ("bos", "pad", "eos", "unk")
    described = {f"{name}_token": piece for name, piece in zip(names, specials, strict=True)}
    described |= {"cls_token": "<s>", "sep_token": "</s>", "tokenizer_class": "XLMRobertaTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(described))


def write_data(folder: Path, tatoeba: Path) -> None:
    """Write sentence pairs, and noise images captioned with some of them in XTD10's layout."""
    lines = (tatoeba / "spa.txt").read_text(encoding="utf-8").splitlines()[-2 * N_PAIRS :]
    (folder / "pairs.tsv").write_text("\n".join(lines[:N_PAIRS]) + "\n", encoding="utf-8")
    captions = folder / "xtd10"
    captions.mkdir()
    names = [f"COCO_{'train' if i % 5 else 'val'}2014_{i:012d}.jpg" for i in range(N_IMAGES)]
    random = np.random.default_rng(0)
    for name in names:
        path = folder / "mscoco" / name.split("_")[1] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 255, (480, 640, 3), dtype=np.uint8)).save(path)
    (captions / "test_image_names.txt").write_text("\n".join(names) + "\n")
    for column, code in enumerate(("en", "es")):
        texts = [line.split("\t")[column] for line in lines[N_PAIRS : N_PAIRS + N_IMAGES]]
        (captions / f"test_1kcaptions_{code}.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")


def settings_of(folder: Path, threads: int) -> config.Settings:
    """Settings of the real recipe's preset with the written folders."""
    return config.load(
        preset="vit-l-14-beto",
        overrides={
            "corpus": [str(folder / "pairs.tsv")],
            "validation_pairs": 32,
            "architecture": str(folder / TEACHER),
            "pretrained": None,
            "backbone": str(folder / "beto"),
            "batch_size": BATCH_SIZE,
            "epochs": BATCH_SIZE / (N_PAIRS - 32),
            "captions": str(folder / "xtd10"),
            "images": str(folder / "mscoco"),
            "imagenet": None,
            "mclip": str(folder / "mclip"),
            "mclip_architecture": str(folder / BASELINE_IMAGES),
            "mclip_pretrained": None,
            "translator": None,
            "cache_dir": str(folder / "cache"),
            "threads": threads,
            "device": "cpu",
        },
    )


def _child(stage: str, folder: Path, threads: int) -> None:
    from themo.data.preparation import prepare_data
    from themo.evaluation.encoders import examine
    from themo.training.loop import train

    settings = settings_of(folder, threads)
    torch.set_num_threads(threads)
    start = time.monotonic()
    with Peak() as peak:
        if stage == "test":
            examine(settings, folder / "version_0", task="retrieval", baseline=True)
        else:
            data = prepare_data(settings)
            if stage == "training step":
                train(settings, data, report=lambda last: last.save(folder / "version_0"))
    highest = max(peak.highest.resident, Memory.now().resident)
    print(json.dumps([time.monotonic() - start, highest]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="One process of the benchmark; prints seconds and bytes.")
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("folder", type=Path)
    parser.add_argument("threads", type=int)
    given = parser.parse_args()
    _child(given.stage, given.folder, given.threads)
