"""A tiny language and other plain parts that tests share; `conftest.py` makes fixtures of them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from themo.config.settings import Settings

SettingsFactory = Callable[..., Settings]
"""`settings(learn_rate=1e-3, ...)`: the fixture `settings`."""

NOUNS = {
    "cat": "gato",
    "dog": "perro",
    "boy": "niño",
    "tree": "árbol",
    "bird": "pájaro",
    "lion": "león",
    "truck": "camión",
    "mouse": "ratón",
    "owl": "búho",
    "boar": "jabalí",
}
ADJECTIVES = {
    "red": "rojo",
    "small": "pequeño",
    "new": "nuevo",
    "blue": "azul",
    "fast": "rápido",
    "old": "viejo",
}
VERBS = {"runs": "corre", "sleeps": "duerme", "sings": "canta", "falls": "cae", "comes": "viene"}

TINY_MINIATURE: dict[str, int] = {
    "corpus_pairs": 600,
    "validation_pairs": 100,
    "test_images": 24,
    "validation_images": 8,
    "unseen_images": 8,
    "images_per_class": 1,
    "teacher_steps": 3,
    "teacher_families": 2,
    "teacher_warmup_steps": 1,
    "student_hidden": 32,
    "student_layers": 1,
}
"""`miniature:` settings of a world that is built in seconds and teaches nothing."""


def sentence_pairs() -> list[tuple[str, str]]:
    """300 English sentences with a Spanish one each by one rule, and every third with a second one."""
    pairs = []
    combinations = itertools.product(NOUNS.items(), ADJECTIVES.items(), VERBS.items())
    for i, ((noun, sustantivo), (adjective, adjetivo), (verb, verbo)) in enumerate(combinations):
        en = f"the {adjective} {noun} {verb}"
        pairs.append((en, f"el {sustantivo} {adjetivo} {verbo}"))
        if i % 3 == 0:
            pairs.append((en, f"{verbo} el {sustantivo} muy {adjetivo}"))
    return pairs


def write_tsv(path: Path, pairs: Iterable[tuple[str, str]]) -> Path:
    """Write sentence pairs with a header."""
    return write_lines(path, ["en\tes", *("\t".join(pair) for pair in pairs)])


def write_lines(path: Path, lines: Iterable[str]) -> Path:
    """Write a text file, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_picture(path: Path, random: np.random.Generator) -> None:
    """Write a JPEG of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(random.integers(0, 255, (36, 40, 3), dtype=np.uint8)).save(path, format="JPEG")


def write_captioned_images(folder: Path, n: int) -> None:
    """Write `n` pictures of noise as ``mscoco/`` and captions of the tiny language as ``xtd10/``."""
    random = np.random.default_rng(0)
    names = [f"COCO_{'train' if i % 3 else 'val'}2014_{i:012d}.jpg" for i in range(n)]
    for name in names:
        write_picture(folder / "mscoco" / name.split("_")[1] / name, random)
    chosen = [sentence_pairs()[7 * i] for i in range(n)]
    write_lines(folder / "xtd10" / "test_image_names.txt", names)
    write_lines(folder / "xtd10" / "test_1kcaptions_en.txt", [en for en, _ in chosen])
    write_lines(folder / "xtd10" / "test_1kcaptions_es.txt", [es for _, es in chosen])


def bpe_merges() -> list[tuple[str, str]]:
    """Merges that make a token of every English word."""
    words = ["the", *NOUNS, *ADJECTIVES, *VERBS]
    return list(dict.fromkeys(merge for word in words for merge in _prefix_merges(word)))


def _prefix_merges(word: str) -> Iterator[tuple[str, str]]:
    symbols = [*word[:-1], word[-1] + "</w>"]
    for i in range(1, len(symbols)):
        yield "".join(symbols[:i]), symbols[i]


def write_version_of(settings: Settings, folder: Path, dimension: int) -> Path:
    """A version directory with an untrained student: all that reading and searching need of one."""
    import torch

    from themo.models.student import Head, Student, save_student
    from themo.models.tokens import Tokenizer

    tokenizer = Tokenizer.load(settings.student.backbone)
    head = Head(dimension, settings.student.pooling, False, False, settings.student.max_length)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        student = Student.build(settings.student.backbone, head, weights=False, projection_init="clip")
    save_student(folder / "student", student.state_dict(), head, student.backbone.config, tokenizer)
    (folder / "config.yaml").write_text(settings.to_yaml(), encoding="utf-8")
    return folder


def early_bert(folder: Path, vocabulary: list[str]) -> Path:
    """A folder as BETO's first release came: no model_type, no tokenizer.json."""
    folder.mkdir()
    config = {
        "vocab_size": len(vocabulary),
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 20,
        "hidden_act": "gelu",
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    return folder
