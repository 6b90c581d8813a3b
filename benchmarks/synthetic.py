"""A large synthetic corpus: pseudo-words with a natural language's frequencies and sentence lengths.

For measurements that depend on sizes alone (memory, rates on a GPU): deterministic, without a download.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt

from themo.config.settings import Settings, load

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_CONSONANTS, _VOWELS = "bcdfglmnprstvz", "aeiou"
_LINES_A_CHUNK = 50_000
_MEAN_LOG_WORDS, _SPREAD_LOG_WORDS, _MOST_WORDS = np.log(11), 0.5, 60
"""Words of a sentence: log-normal about 11, as captions and talks have them."""


def words(n: int) -> list[str]:
    """`n` distinct pseudo-words of two to four syllables, always the same; n up to 70 squared."""
    syllables = [c + v for c in _CONSONANTS for v in _VOWELS]
    random = np.random.default_rng(0)
    firsts = random.permutation(len(syllables) ** 2)[:n]
    endings = random.integers(len(syllables) + 1, size=n)
    return [
        syllables[i // len(syllables)]
        + syllables[i % len(syllables)]
        + ("" if e == len(syllables) else syllables[e])
        for i, e in zip(firsts.tolist(), endings.tolist(), strict=True)
    ]


def write_corpus(path: Path, n_pairs: int, seed: int) -> None:
    """Write a TSV of `n_pairs` distinct pairs; both sides have the same words in different orders."""
    vocabulary = np.array(words(4_900), dtype=object)
    random = np.random.default_rng(seed)
    frequency = 1 / np.arange(1, len(vocabulary) + 1)
    cumulative = np.cumsum(frequency / frequency.sum())
    with path.open("w", encoding="utf-8") as file:
        file.write("en\tes\n")
        for start in range(0, n_pairs, _LINES_A_CHUNK):
            n = min(_LINES_A_CHUNK, n_pairs - start)
            lengths = random.lognormal(_MEAN_LOG_WORDS, _SPREAD_LOG_WORDS, n).round().clip(3, _MOST_WORDS)
            ends = np.cumsum(lengths).astype(np.int64)
            drawn = vocabulary[np.searchsorted(cumulative, random.random(int(ends[-1])), side="right")]
            # the number makes every line unique, so that none is dropped as a duplicate
            for i, sentence in enumerate(np.split(drawn, ends[:-1])):
                text = " ".join(sentence)
                file.write(f"{text} {start + i}\t{start + i} {text}\n")


def write_targets(path: Path, n_rows: int, dimension: int, seed: int) -> None:
    """Write random float16 vectors (n_rows, dimension) in blocks, without keeping all of them in memory."""
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=(n_rows, dimension))
    random = np.random.default_rng(seed)
    for start in range(0, n_rows, _LINES_A_CHUNK):
        chunk: npt.NDArray[np.float32] = random.standard_normal(
            (min(_LINES_A_CHUNK, n_rows - start), dimension), dtype=np.float32
        )
        out[start : start + len(chunk)] = chunk
    out.flush()


def write_backbone(folder: Path, hidden_size: int, layers: int, vocab_size: int = 31_002) -> None:
    """A BERT without weights: ``config.json`` and ``vocab.txt`` with all pseudo-words and digits.

    Args:
        folder: An existing folder.
        hidden_size: Width; a head is 64 wide.
        layers: Layers.
        vocab_size: Entries of the embedding, BETO's 31,002; entries without a word are never used.
    """
    pieces = [*SPECIAL, *words(4_900), *"0123456789", *(f"##{digit}" for digit in range(10))]
    filler = [f"[unused{i}]" for i in range(vocab_size - len(pieces))]
    (folder / "vocab.txt").write_text("\n".join([*pieces, *filler]) + "\n", encoding="utf-8")
    config = {
        "hidden_size": hidden_size,
        "intermediate_size": 4 * hidden_size,
        "num_attention_heads": hidden_size // 64,
        "num_hidden_layers": layers,
        "max_position_embeddings": 512,
        "vocab_size": vocab_size,
        "type_vocab_size": 2,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


def settings_of(folder: Path, **others: object) -> Settings:
    """Settings for ``pairs.tsv``, ``targets.npy`` and the backbone of a folder, which also has the cache."""
    places = {
        "corpus": [str(folder / "pairs.tsv")],
        "targets": str(folder / "targets.npy"),
        "architecture": "ViT-B-32",  # never loaded: the targets are there
        "backbone": str(folder),
        "backbone_weights": False,
        "cache_dir": str(folder / "cache"),
    }
    return load().override(places | others)
