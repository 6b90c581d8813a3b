"""The student's backbone before training: a Hugging Face folder with a tokenizer and no weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tokenizers import BertWordPieceTokenizer
from transformers import BertConfig, PreTrainedTokenizerFast

from themo.config.miniature import MiniatureRecipe

_SPECIAL_TOKENS = {f"{name.lower()}_token": f"[{name}]" for name in ("UNK", "PAD", "CLS", "SEP", "MASK")}

INITIALIZER_RANGE = 0.005
"""Standard deviation of random initial weights. BERT's 0.02 suits a long pre-training; here smaller weights
do better, since a small learning rate changes their direction sooner (EXPERIMENTS.md)."""


def write_blank_student(recipe: MiniatureRecipe, spanish: Sequence[str], folder: Path) -> None:
    """Write configuration and tokenizer of the student.

    Args:
        recipe: Sizes of the model.
        spanish: Sentences whose words become the vocabulary; lower-cased, but accents and "ñ" stay.
        folder: An empty folder.
    """
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("".join(f"{piece}\n" for piece in _word_pieces(spanish)), encoding="utf-8")
    pieces = BertWordPieceTokenizer(str(vocabulary), lowercase=True, strip_accents=False)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=pieces._tokenizer,
        model_max_length=recipe.student_positions,
        **_SPECIAL_TOKENS,
    )
    tokenizer.save_pretrained(folder)
    config = BertConfig(
        vocab_size=pieces.get_vocab_size(),
        hidden_size=recipe.student_hidden,
        num_hidden_layers=recipe.student_layers,
        num_attention_heads=recipe.student_hidden // 32,
        intermediate_size=2 * recipe.student_hidden,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        max_position_embeddings=recipe.student_positions,
        initializer_range=INITIALIZER_RANGE,
        pad_token_id=tokenizer.pad_token_id,
    )
    config.save_pretrained(folder)


def _word_pieces(sentences: Sequence[str]) -> list[str]:
    """Return a WordPiece vocabulary: special tokens, letters, and words by falling frequency.

    A trained vocabulary of so few words is nearly the same (281 pieces, nearly all words), but the trainer of
    the library `tokenizers` breaks ties at random, and equal recipes must give equal worlds.
    """
    counts = Counter(word for sentence in sentences for word in sentence.lower().split())
    letters = sorted({letter for word in counts for letter in word})
    words = sorted((word for word in counts if len(word) > 1), key=lambda word: (-counts[word], word))
    frame = [_SPECIAL_TOKENS[f"{name}_token"] for name in ("pad", "unk", "cls", "sep", "mask")]
    return [*frame, *letters, *(f"##{letter}" for letter in letters), *words]
