"""BERT's configuration and tokenizer from files that Themo wrote, read without transformers or torch.

Importing transformers takes 0.9 s of processor time; to train and test a BERT, nothing else of it is needed.
Transformers reads a backbone once and writes all of the configuration, and the whole tokenizer as one
``tokenizer.json`` (`themo.models.plain_backbone`). A student's folder has the same files. Transformers reads
files that differ from these in any way.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tokenizers import Tokenizer as Backend

from themo.models.normal_form import NORMAL_FORM

ARCHITECTURES: Mapping[str, str] = {
    "bert": "BertModel",
    "camembert": "CamembertModel",
    "roberta": "RobertaModel",
    "xlm-roberta": "XLMRobertaModel",
}
"""transformers' classes with the modules and weights of `themo.models.bert.BertEncoder`, by the type of
their configuration."""

ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu")
"""Activations of `BertEncoder`, by their names in a configuration."""

CONFIG = "config.json"
TOKENIZER, TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"

_FIELDS: Mapping[str, type | tuple[type, ...]] = {
    "vocab_size": int,
    "hidden_size": int,
    "num_hidden_layers": int,
    "num_attention_heads": int,
    "intermediate_size": int,
    "hidden_act": str,
    "hidden_dropout_prob": (int, float),
    "attention_probs_dropout_prob": (int, float),
    "max_position_embeddings": int,
    "type_vocab_size": int,
    "initializer_range": float,
    "layer_norm_eps": float,
    "pad_token_id": (int, type(None)),
    "is_decoder": bool,
    "add_cross_attention": bool,
    "is_encoder_decoder": bool,
    "dtype": (str, type(None)),
}
"""Attributes of BERT's configuration, all of which Themo's files state."""

_CLASSES = ("TokenizersBackend", "PreTrainedTokenizerFast", "BertTokenizer", "BertTokenizerFast")
_SPECIALS = ("unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_OTHER_FILES = ("special_tokens_map.json", "added_tokens.json", "chat_template.jinja")
"""Files of older versions of transformers, and of chat models, which change a tokenizer."""
_CASING = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}
"""Options of BERT's tokenizer in ``tokenizer_config.json``, and their names in its normalizer."""


class PlainConfig(SimpleNamespace):
    """A configuration of transformers as its attributes alone."""


class PlainTokenizer:
    """A tokenizer of transformers as its files alone, with the attributes of transformers' class.

    Args:
        folder: Folder of the files.
        stated: Content of ``tokenizer_config.json``.

    Attributes:
        backend_tokenizer: The tokenizer.
        pad_token_id, unk_token_id: Ids of special tokens.
    """

    def __init__(self, folder: Path, stated: Mapping[str, Any]) -> None:
        self.folder = folder
        self.backend_tokenizer = Backend.from_file(str(folder / TOKENIZER))
        self.pad_token_id, self.unk_token_id = (
            self.backend_tokenizer.token_to_id(stated[name]) for name in ("pad_token", "unk_token")
        )

    def save_pretrained(self, folder: Path) -> None:
        """Write the files into another folder."""
        for name in (TOKENIZER, TOKENIZER_CONFIG):
            shutil.copyfile(self.folder / name, folder / name)


def is_bert(config: Any) -> bool:
    """Whether `BertEncoder` has the function of the encoder with a configuration of transformers."""
    return (
        config.model_type in ARCHITECTURES
        and config.hidden_act in ACTIVATIONS
        and not config.is_decoder
        and not config.add_cross_attention
        and (config.model_type == "bert" or config.pad_token_id is not None)
        and getattr(config, "position_embedding_type", "absolute") == "absolute"
    )


def refuse_heads(config: Any) -> None:
    """Refuse heads that do not divide the width.

    Raises:
        ValueError: The number of heads does not divide the width.
    """
    if config.hidden_size % config.num_attention_heads:
        raise ValueError(
            f"hidden_size must be a multiple of num_attention_heads, got {config.hidden_size} and "
            f"{config.num_attention_heads}"
        )


def plain_config(folder: Path) -> PlainConfig | None:
    """Return BERT's configuration from a folder; None where transformers must read it."""
    values = _read(folder / CONFIG)
    if values is None or values.get("model_type") != "bert":
        return None
    if any(not isinstance(values.get(name, ...), kind) for name, kind in _FIELDS.items()):
        return None
    return PlainConfig(**values)


def write_config(config: Any, path: Path) -> None:
    """Write all attributes of a configuration, of transformers or plain, into a JSON file."""
    if not isinstance(config, PlainConfig):
        config.to_json_file(path, use_diff=False)
        return
    values = vars(config).copy()
    if config.dtype is not None:  # a type of torch, or its name
        values["dtype"] = str(config.dtype).removeprefix("torch.")
    path.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def plain_tokenizer(folder: Path) -> PlainTokenizer | None:
    """Return BERT's tokenizer from a folder; None where transformers must read it."""
    stated, state = _read(folder / TOKENIZER_CONFIG), _read(folder / TOKENIZER)
    if stated is None or state is None or stated.get("tokenizer_class") not in _CLASSES:
        return None
    if plain_config(folder) is None or any((folder / name).exists() for name in _OTHER_FILES):
        return None
    try:
        return PlainTokenizer(folder, stated) if _is_as_written(stated, state) else None
    except Exception:  # tokenizers raises no other kind; transformers' message names the file
        return None


def _is_as_written(stated: Mapping[str, Any], state: Mapping[str, Any]) -> bool:
    """Whether transformers' tokenizer would equal the one in ``tokenizer.json``."""
    normalizers = (state.get("normalizer") or {}).get("normalizers") or [{}]
    own = normalizers[-1]
    if [part.get("type") for part in normalizers] != [NORMAL_FORM, "BertNormalizer"]:
        return False
    if any(own[name] != stated[option] for option, name in _CASING.items() if option in stated):
        return False
    specials = {token["content"] for token in state["added_tokens"] if token["special"]}
    return all(isinstance(stated.get(name), str) and stated[name] in specials for name in _SPECIALS)


def _read(path: Path) -> dict[str, Any] | None:
    """Return a JSON object; None if the file holds none: transformers' message is better."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
