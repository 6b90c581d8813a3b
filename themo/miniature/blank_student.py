"""The student's backbone before training: a Hugging Face folder with a tokenizer and no weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tokenizers import BertWordPieceTokenizer
from transformers import BertConfig, PreTrainedTokenizerFast

from themo.miniature.recipe import MiniatureRecipe

_VOCABULARY_SIZE = 1_000
"""Entries at most; the grammar's few words need about 300."""
_SPECIAL_TOKENS = {f"{name.lower()}_token": f"[{name}]" for name in ("UNK", "PAD", "CLS", "SEP", "MASK")}


def write_blank_student(recipe: MiniatureRecipe, spanish: Sequence[str], folder: Path) -> None:
    """Write configuration and tokenizer of the student.

    Args:
        recipe: Sizes of the model.
        spanish: Sentences to train the WordPiece tokenizer on; lower-cased, but accents and "ñ" stay.
        folder: An empty folder.
    """
    pieces = BertWordPieceTokenizer(lowercase=True, strip_accents=False)
    pieces.train_from_iterator(spanish, vocab_size=_VOCABULARY_SIZE, min_frequency=1, show_progress=False)
    pieces.save_model(str(folder))
    # Loaded again from its vocabulary, the tokenizer frames a text with [CLS] and [SEP].
    pieces = BertWordPieceTokenizer(str(folder / "vocab.txt"), lowercase=True, strip_accents=False)
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
        pad_token_id=tokenizer.pad_token_id,
    )
    config.save_pretrained(folder)
