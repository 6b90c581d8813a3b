"""A static table in model2vec's form: one vector per word or phrase, no network.

A table is small and fast, but ignores word order beyond phrases. It is distilled from the student on
sentences of the training corpus, or on the user's own.
"""

from __future__ import annotations

from pathlib import Path

from themo.checkpoints.versions import read_settings
from themo.data.preparation import training_sentences
from themo.errors import InputError
from themo.export.quality import read_sentences
from themo.export.request import Request
from themo.export.static_distillation import distil
from themo.files.atomic import write_text
from themo.models.phrases import plain_words
from themo.models.static_table import save_table
from themo.models.student import Student

LIBRARY = "model2vec"
TASK = "feature-extraction"
NORMALIZED = True
MOST_SENTENCES = 50_000
"""Maximum number of sentences to learn from, chosen at random."""
MOST_TOKENS = 32_000
_SHARE = 0.075
"""Maximum size of the table as a share of the student's bytes."""
_BYTES_A_NAME = 40
"""Approximate bytes of a token in ``tokenizer.json``."""
_LEAST_TOKENS = 200


def write(folder: Path, request: Request) -> list[str]:
    """Write the files; return notes on deviations for the card.

    Raises:
        InputError: The sentences cannot be read, or have no word.
    """
    source, sentences = request.source, request.sentences
    if sentences is not None:
        texts, name = read_sentences(sentences)[:MOST_SENTENCES], sentences.name
    else:
        try:
            texts, name = training_sentences(source.settings, MOST_SENTENCES), "the training corpus"
        except InputError as error:
            raise InputError(
                f"--format static learns from the training corpus, or from --sentences FILE: {error}"
            ) from error
    if not any(map(plain_words, texts)):
        place = "--format static: the training corpus" if sentences is None else f"--sentences {sentences}"
        raise InputError(f"{place} must have a sentence with letters or digits, got none of {len(texts):,}")
    tokenizer, vectors = distil(source.student, source.tokenizer, texts, n_tokens(source.student))
    save_table(folder, tokenizer, vectors)
    # for `themo.load` and `test`: a table is in image space, so its target is the embedding
    cache_dir = read_settings(
        source.version
    ).paths.cache_dir  # that of `source` is absolute or relative to here
    settings = source.settings.override({"cache_dir": cache_dir})
    if source.is_projected:
        settings = settings.override({"target": "embedding"})
    write_text(folder / "config.yaml", settings.to_yaml())
    return [
        f"A table of {len(vectors):,} vectors, distilled from the encoder on {len(texts):,} sentences of "
        f"{name}. It knows words and frequent phrases, but not the order of other words. Unknown words have "
        "no effect."
    ]


def n_tokens(student: Student) -> int:
    """Return the number of tokens that fit a table of `_SHARE` of the student's size."""
    n_bytes = sum(p.numel() * p.element_size() for p in student.parameters())
    fitting = int(_SHARE * n_bytes / (student.head.dimension + _BYTES_A_NAME))
    return max(_LEAST_TOKENS, min(MOST_TOKENS, fitting))


def usage(_request: Request) -> str:
    """Return the card's lines of code."""
    return """\
```python
from model2vec import StaticModel

<place>
model = StaticModel.from_pretrained(place)
<sentences>
vectors = model.encode(sentences)
```

`themo.load(place)` reads it too.
"""
