"""Small real parts that the tests share: a CLIP, a BERT, a corpus, and settings over them.

Nothing here is a stand-in. The teacher is an open_clip model and the backbone a transformers folder, both
with random weights and a few dimensions, all seeded.
"""

from __future__ import annotations

import gzip
import json
import os
import signal
from collections.abc import Generator
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"  # before huggingface_hub is imported: no test may wait for the network
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["OMP_NUM_THREADS"] = "1"  # tests run on all cores: more threads would wait for each other
os.environ.pop("MLFLOW_TRACKING_URI", None)

import hypothesis
import pytest
import warm_start
import yaml
from tiny import TINY_MINIATURE, SettingsFactory, bpe_merges, sentence_pairs, write_tsv

from themo.config.settings import Settings
from themo.data.dataset import TrainingData
from themo.process.garbage import uncollected

# heavy libraries are imported in functions: the controller of pytest-xdist has no use for them
hypothesis.settings.register_profile("themo", max_examples=40, deadline=None)
hypothesis.settings.load_profile("themo")


def pytest_configure(config: pytest.Config) -> None:
    # a job in the background has Ctrl-C ignored, one of nohup the hang-up; what tests signal would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if not hasattr(config, "workerinput"):  # pytest-xdist's workers share that of their controller
        warm_start.allow()


def pytest_unconfigure() -> None:
    warm_start.end()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Import the tests without looking for garbage, a sixth of the time, nor do so later: modules stay."""
    with uncollected():
        return (yield)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Set up the process for the tests: those that are slow start programs from libraries loaded once."""
    import torch

    torch.set_num_threads(1)
    warm_start.ease_databases()
    if not session.config.option.collectonly and any("slow" in item.keywords for item in session.items):
        warm_start.begin()


_LONGEST = (
    "test_session.py",
    "test_documented_programs.py",
    "test_reports_of_commands.py",
    "test_surroundings.py",
    "test_main.py",
    "test_confirmation.py",
    "test_real_recipe.py",
    "test_runs.py",
    "test_tune_command.py",
    "test_training.py",
)
"""Files of minutes, which begin first, so that no process works alone on one of them at the end.

The other files with slow tests follow; those of fast tests alone fill all processes to the end.
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked `gpu` are skipped where there is none; files that take longest come first."""
    import torch

    slow = {item.path for item in items if "slow" in item.keywords}
    items.sort(key=lambda i: ((*_LONGEST, i.path.name).index(i.path.name), i.path not in slow))
    if not torch.cuda.is_available():
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(autouse=True)
def _variables_of_mlflow() -> Generator[None]:
    """Take back what Themo and MLflow set: a program that has inherited it would import MLflow again."""
    before = {name: value for name, value in os.environ.items() if name.startswith("MLFLOW_")}
    yield
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture(scope="session", autouse=True)
def no_power_failure() -> Generator[None]:
    """The disk is not waited for in this process: tests kill processes, but do not cut the power."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="session")
def tiny_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TSV of 400 sentence pairs with a header, 300 English sentences among them."""
    return write_tsv(tmp_path_factory.mktemp("corpus") / "pairs.tsv", sentence_pairs())


@pytest.fixture(scope="session")
def tiny_teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in open_clip's layout: text width 16, embedding 12, random weights, a cut vocabulary."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("teacher")
    merges = bpe_merges()
    bpe = "\n".join(["#version: 0.2", *(" ".join(merge) for merge in merges)])
    (folder / "bpe.txt.gz").write_bytes(gzip.compress(bpe.encode(), mtime=0))
    model_cfg: dict[str, Any] = {
        "embed_dim": 12,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 16},
        "text_cfg": {
            "context_length": 16,
            "vocab_size": 512 + len(merges) + 2,
            "tokenizer_kwargs": {"bpe_path": "bpe.txt.gz"},
            "width": 16,
            "heads": 2,
            "layers": 1,
        },
    }
    config = {"model_cfg": model_cfg, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}}
    (folder / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = open_clip.model.CLIP(**model_cfg)
        # as they start, all sentences lie close together; a trained tower spreads them
        torch.nn.init.normal_(model.token_embedding.weight, std=1.0)
        torch.nn.init.normal_(model.text_projection, std=0.5)
        for name, parameter in model.transformer.named_parameters():
            if name.endswith("weight") and parameter.ndim == 2:
                torch.nn.init.normal_(parameter, std=0.4)
    save_file(
        {name: t.contiguous() for name, t in model.state_dict().items()},
        folder / "open_clip_model.safetensors",
    )
    return folder


@pytest.fixture(scope="session")
def tiny_backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BertModel folder of transformers: width 32, 1 layer, WordPiece with accents, random weights."""
    import torch
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("backbone")
    # written, not trained: training decides between equal counts differently from run to run
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = sorted({word for _, es in sentence_pairs() for word in es.split()})
    letters = sorted(set("".join(words)))
    whole = [word for word in words if word not in ("pequeño", "rápido", "viejo")]
    pieces = [*specials, *letters, *(f"##{letter}" for letter in letters), *whole, "pe", "##queño"]
    vocabulary = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))  # noqa: S106
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    inner = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        **{f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")},
    )
    config = BertConfig(
        vocab_size=len(inner),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=48,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(config).save_pretrained(folder)
    inner.save_pretrained(folder)
    return folder


def _tree(root: Path, corpus: Path, teacher: Path, backbone: Path) -> dict[str, Any]:
    return {
        "paths": {"experiment": "tiny", "logs_dir": str(root / "logs"), "cache_dir": str(root / "cache")},
        "data": {"corpus": [str(corpus)], "validation_pairs": 60},
        "teacher": {"architecture": str(teacher), "target": "embedding"},
        "student": {"backbone": str(backbone), "backbone_weights": False, "max_length": 16},
        "loss": {"loss": "cosine"},
        "training": {
            "batch_size": 32,
            "epochs": 2.0,
            "learn_rate": 5e-3,
            "report_pairs": 200,
            "device": "cpu",
            "threads": 1,
            "precision": "float32",
        },
    }


@pytest.fixture
def tiny_settings(tmp_path: Path, tiny_corpus: Path, tiny_teacher: Path, tiny_backbone: Path) -> Settings:
    """Settings over the tiny parts; cache and logs lie in `tmp_path`."""
    return Settings.model_validate(_tree(tmp_path, tiny_corpus, tiny_teacher, tiny_backbone))


@pytest.fixture
def settings(tiny_settings: Settings) -> SettingsFactory:
    """`settings(learn_rate=1e-3, ...)`: the tiny settings with some leaves replaced."""
    return lambda **leaves: tiny_settings.override(leaves)


@pytest.fixture
def tiny_config(tmp_path: Path, tiny_settings: Settings) -> Path:
    """The tiny settings as a YAML file, for the command line."""
    path = tmp_path / "tiny.yaml"
    path.write_text(tiny_settings.to_yaml(), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tiny_data(
    tmp_path_factory: pytest.TempPathFactory, tiny_corpus: Path, tiny_teacher: Path, tiny_backbone: Path
) -> TrainingData:
    """The tiny corpus prepared: about 340 training pairs, 60 held out."""
    from themo.data.preparation import prepare_data

    root = tmp_path_factory.mktemp("prepared")
    return prepare_data(Settings.model_validate(_tree(root, tiny_corpus, tiny_teacher, tiny_backbone)))


@pytest.fixture
def tiny_miniature(tmp_path: Path) -> Path:
    """A YAML over the preset `miniature` with a world of `TINY_MINIATURE`; cache and logs in `tmp_path`."""
    tree = {
        "preset": "miniature",
        "paths": {"logs_dir": str(tmp_path / "logs"), "cache_dir": str(tmp_path / "cache")},
        "training": {
            "epochs": 1.0,
            "report_pairs": 300,
            "threads": 1,
            "device": "cpu",
            "precision": "float32",
        },
        "miniature": TINY_MINIATURE,
    }
    path = tmp_path / "miniature.yaml"
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return path
