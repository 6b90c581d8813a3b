"""Sentences of all kinds for tests of exports, and the code of a card run as a user runs it."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tiny import early_bert, sentence_pairs
from torch import Tensor
from torch.nn import functional

from themo.export.card_examples import N_VALUES
from themo.export.source import Source

LEAST_COSINE = 0.9999


def mixed_sentences(n: int = 1000) -> list[str]:
    """Sentences of one word to far too many: accents of both forms, capitals, unknown words and marks."""
    known = [es for _, es in sentence_pairs()]
    words = sorted({word for es in known for word in es.split()})
    draw = random.Random(0)
    kinds = (
        lambda: draw.choice(words),
        lambda: draw.choice(known),
        lambda: draw.choice(known).upper(),
        lambda: " ".join(draw.choices(words, k=draw.randint(2, 9))) + draw.choice(["", ".", "!", " ¿?"]),
        lambda: " ".join(draw.choices(words, k=draw.randint(30, 200))),
        lambda: f"{draw.choice(known)} zzyzx {draw.choice(['ÁRBOL', 'ñandú', 'pingüino'])}",
        lambda: unicodedata.normalize("NFD", f"el niño {draw.choice(known)}"),
    )
    return [kinds[i % len(kinds)]() for i in range(n)]


def own_vectors(source: Source, sentences: Sequence[str]) -> Tensor:
    """Vectors of sentences in image space, computed as `test` does; own vectors unchanged."""
    vectors = source.trained.encode(source.tokenizer, sentences)
    if not source.has_teacher:
        return vectors
    return source.teacher.to_image_space(vectors, source.settings.teacher.target)


def assert_same(vectors: Tensor | np.ndarray, source: Source, sentences: Sequence[str]) -> None:
    """Every sentence's vector points where Themo's own does."""
    expected = own_vectors(source, sentences)
    found = torch.as_tensor(np.asarray(vectors), dtype=torch.float32)
    assert found.shape == expected.shape
    cosine = functional.cosine_similarity(found, expected)
    assert cosine.min() >= LEAST_COSINE


def blocks(readme: Path, language: str) -> list[str]:
    """The code of a card in a language."""
    return re.findall(rf"```{language}\n(.*?)```", readme.read_text(encoding="utf-8"), flags=re.DOTALL)


def run_card(folder: Path, sentences: Sequence[str] | None = None) -> np.ndarray:
    """Run all Python of a card in its folder, where Themo cannot be imported; the ``vectors`` it makes.

    Args:
        folder: With ``README.md``.
        sentences: In place of the card's own.
    """
    code = "\n".join(blocks(folder / "README.md", "python"))
    if sentences is not None:
        texts = folder.parent / f"{folder.name}-sentences.json"
        texts.write_text(json.dumps(list(sentences)), encoding="utf-8")
        ours = f"import json; sentences = json.load(open({str(texts)!r}))"
        code, n = re.subn(r"^sentences = .*$", lambda _: ours, code, flags=re.MULTILINE)
        assert n == 1
    out = folder.parent / f"{folder.name}-vectors.npy"
    script = (
        "import sys; sys.modules['themo'] = None\n"
        f"{code}\n"
        f"import numpy; numpy.save({str(out)!r}, numpy.asarray(vectors))\n"
    )
    run_alone([sys.executable, "-c", script], folder)
    vectors: np.ndarray = np.load(out)
    return vectors


def run_alone(command: Sequence[str], folder: Path, **variables: str) -> str:
    """Run a program in a folder, offline; return its output."""
    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": str(folder.parent),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    done = subprocess.run(
        command,
        env=environment | variables,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def expected_values(folder: Path) -> np.ndarray:
    """The values that a card gives."""
    (text,) = blocks(folder / "README.md", "text")
    return np.array([line.split() for line in text.splitlines()], dtype=float)


def first_values(vectors: np.ndarray) -> np.ndarray:
    """The first values of vectors, as on a card."""
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True))[:, :N_VALUES]


def files(folder: Path) -> list[str]:
    return sorted(
        str(Path(root, name).relative_to(folder)) for root, _, names in os.walk(folder) for name in names
    )


def write_beto(folder: Path, *, accents: bool = True) -> Path:
    """The first release of BETO, with unusual special ids and a vocabulary of the tests' sentences."""
    specials = ["[MASK]", "[PAD]", "[EOS]", "[UNK]", "[CLS]", "[SEP]"]
    words = sorted({word for _, es in sentence_pairs() for word in es.split()})
    if not accents:
        words = sorted({word.translate(str.maketrans("áéíóúñ", "aeioun")) for word in words})
    letters = sorted(set("".join(words)))
    vocabulary = [*specials, *letters, *(f"##{letter}" for letter in letters), *words]
    return early_bert(folder, vocabulary)
