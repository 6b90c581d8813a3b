"""Encoders by name or folder in transformers' layout: their configuration, tokenizer and weights.

torch is imported to build a model alone: the driver of a search reads configuration and tokenizer.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from themo.errors import InputError, reason_of
from themo.files.weights import refuse_code
from themo.models.bert_files import is_bert, plain_config, refuse_heads

_CAPITALS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZÁÉÍÓÚÜÑ")
_ACCENTED = frozenset("áéíóúüñÁÉÍÓÚÜÑ")

_DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout")
"""Names of the dropout rates of states and attention in transformers: those of BERT, then those of
DistilBERT. ModernBERT has only the last."""


def load_config(backbone: str) -> Any:
    """Load the configuration of a backbone, of transformers' class or plain.

    Raises:
        InputError: The backbone is unknown or no text encoder.
    """
    config: Any = plain_config(Path(backbone))
    if config is None:
        config = _config_of_transformers(backbone)
    if config.is_encoder_decoder or not hasattr(config, "vocab_size"):
        raise InputError(f"student.backbone {backbone}: must be a text encoder, got {config.model_type!r}")
    return config


def _config_of_transformers(backbone: str) -> Any:
    from transformers import AutoConfig, BertConfig  # a second of processor time

    try:
        if _is_early_bert(Path(backbone)):
            return BertConfig.from_json_file(Path(backbone) / "config.json")
        return AutoConfig.from_pretrained(backbone, trust_remote_code=False)
    except Exception as error:  # malformed files raise any kind of error
        raise _refusal(backbone, "configuration", error) from error


def load_tokenizer(backbone: str) -> Any:
    """Load the fast tokenizer of a backbone, of transformers' class.

    Raises:
        InputError: The tokenizer is missing or has no words.
    """
    from transformers import AutoTokenizer  # a second of processor time

    folder = Path(backbone)
    try:
        inner = (
            _early_tokenizer(folder)
            if _is_early_bert(folder)
            else AutoTokenizer.from_pretrained(backbone, trust_remote_code=False, **_casing(folder))
        )
    except Exception as error:  # as above
        raise _refusal(backbone, "tokenizer", error) from error
    if not inner.is_fast:
        raise InputError(f"student.backbone {backbone}: must have a fast tokenizer (tokenizer.json)")
    if len(inner) <= len(inner.all_special_ids):  # transformers makes an empty one if the files are missing
        raise InputError(
            f"student.backbone {backbone}: has no usable tokenizer: its vocabulary must contain more than "
            "special tokens; are tokenizer.json or vocab.txt missing?"
        )
    return inner


def refuse_length(backbone: str, config: Any, max_length: int) -> None:
    """Refuse a `max_length` above a backbone's number of positions.

    Raises:
        InputError: The backbone has fewer positions, or no model can be built from its configuration.
    """
    try:
        longest = longest_input(config)
    except Exception as error:  # transformers and torch raise several kinds
        raise _refusal(backbone, "model", error) from error
    if longest is not None and max_length > longest:
        raise InputError(f"student.max_length must be at most the backbone's {longest}, got {max_length}")


def longest_input(config: Any) -> int | None:
    """Return the greatest input length of an encoder, in tokens with the special ones; None: no limit."""
    positions: int | None = getattr(config, "max_position_embeddings", None)
    if positions is None:
        return None
    if is_bert(config):
        refuse_heads(config)
        return positions if config.model_type == "bert" else positions - config.pad_token_id - 1
    import torch

    with torch.device("meta"):  # needs no memory
        encoder = untrained(copy.deepcopy(config))
    table = getattr(getattr(encoder, "embeddings", None), "position_embeddings", None)
    padding = getattr(table, "padding_idx", None)
    # RoBERTa's position tables have a row for padding; positions start after it
    return positions if padding is None else positions - padding - 1


def adapted_config(
    backbone: str,
    *,
    hidden_size: int | None = None,
    hidden_layers: int | None = None,
    dropout: float | None = None,
) -> Any:
    """Return the configuration of a backbone with the changes of `build_model`.

    Raises:
        InputError: The backbone is unknown or does not support the changes.
    """
    config = load_config(backbone)
    if hidden_size is not None:
        try:
            head = config.hidden_size // config.num_attention_heads
            fits = hidden_size % head == 0
            config.intermediate_size = config.intermediate_size * hidden_size // config.hidden_size
        except (AttributeError, TypeError, ZeroDivisionError):
            raise InputError(
                f"student.hidden_size must be null for {backbone}, whose configuration does not have "
                f"hidden_size, num_attention_heads and intermediate_size, got {hidden_size}"
            ) from None
        if not fits:
            raise InputError(
                f"student.hidden_size must be a multiple of the head width {head}, got {hidden_size}"
            )
        config.num_attention_heads = hidden_size // head
        config.hidden_size = hidden_size
    if hidden_layers is not None:
        config.num_hidden_layers = hidden_layers
    if dropout is not None:
        names = [name for name in _DROPOUTS if hasattr(config, name)]
        if not names:
            raise InputError(
                f"student.dropout must be null for {backbone}, which has no dropout, got {dropout}"
            )
        for name in names:
            setattr(config, name, dropout)
    return config


def build_model(
    backbone: str,
    *,
    weights: bool,
    hidden_size: int | None = None,
    hidden_layers: int | None = None,
    dropout: float | None = None,
) -> Any:
    """Build the encoder in float32 without its pooling head; random weights use torch's random state.

    Args:
        backbone: Name or folder.
        weights: Load the pretrained weights.
        hidden_size: Width in place of the configuration's; the width of a head and the ratio of the inner
            width stay the same.
        hidden_layers: Layers in place of the configuration's.
        dropout: Dropout of states and attention in place of the configuration's, as far as it has them.

    Raises:
        InputError: The backbone is unknown, lacks weights, or has heads that do not divide the width.
    """
    config = adapted_config(backbone, hidden_size=hidden_size, hidden_layers=hidden_layers, dropout=dropout)
    try:
        return _pretrained(backbone, config) if weights else untrained(config)
    except Exception as error:  # safetensors, pickle, torch, JSON and transformers raise different errors
        refuse_code(error, f"student.backbone {backbone}")
        raise _refusal(backbone, "model", error) from error


def untrained(config: Any) -> Any:
    """The encoder of a configuration, with random weights in float32."""
    from themo.models.bert import DTYPE, BertEncoder

    config.dtype = DTYPE
    if is_bert(config):
        return BertEncoder(config)
    from themo.models.other_encoders import of_config  # seconds of processor time

    return of_config(config)


def _pretrained(backbone: str, config: Any) -> Any:
    import torch

    from themo.models.bert import BertEncoder
    from themo.models.other_encoders import of_weights

    model = of_weights(backbone, config)
    if not is_bert(config):
        return model
    with torch.device("meta"):  # draws no random weights
        encoder = BertEncoder(model.config)
    encoder.load_state_dict(model.state_dict(), assign=True)
    return encoder


def _is_early_bert(folder: Path) -> bool:
    """Whether a folder has BETO's and early BERT's form: a vocabulary and an untyped configuration."""
    config = folder / "config.json"
    return (
        config.is_file()
        and (folder / "vocab.txt").is_file()
        and "model_type" not in json.loads(config.read_text(encoding="utf-8"))
    )


def _casing(folder: Path) -> dict[str, bool | None]:
    """Return BERT's tokenizer options for capitals and accents if a folder leaves them to transformers.

    transformers lower-cases by default and then strips accents, even against the normalizer in
    ``tokenizer.json``. Here that normalizer takes precedence, unless ``tokenizer_config.json`` sets the
    options. Without ``tokenizer.json`` the vocabulary decides: pieces with capitals or accents must be
    reachable.
    """
    whole, vocabulary = folder / "tokenizer.json", folder / "vocab.txt"
    if whole.is_file():
        config = folder / "tokenizer_config.json"
        stated = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
        normalizer = json.loads(whole.read_text(encoding="utf-8")).get("normalizer") or {}
        parts = [normalizer, *normalizer.get("normalizers", ())]
        of_bert = next((part for part in parts if part.get("type") == "BertNormalizer"), None)
        if of_bert is None:
            return {}
        own = {"do_lower_case": of_bert["lowercase"], "strip_accents": of_bert["strip_accents"]}
        return {name: value for name, value in own.items() if name not in stated}
    return _casing_of(vocabulary.read_text(encoding="utf-8")) if vocabulary.is_file() else {}


def _casing_of(vocabulary: str) -> dict[str, bool | None]:
    letters = {
        letter
        for piece in vocabulary.split("\n")
        if (word := piece.removeprefix("##")).isalpha()  # not a special token's name, as [UNK] or <EOS>
        for letter in word
    }
    return {"do_lower_case": _CAPITALS.isdisjoint(letters), "strip_accents": _ACCENTED.isdisjoint(letters)}


def _early_tokenizer(folder: Path) -> Any:
    from transformers import BertTokenizerFast

    vocabulary = (folder / "vocab.txt").read_text(encoding="utf-8")
    return BertTokenizerFast(
        vocab_file=str(folder / "vocab.txt"),
        vocab={piece: i for i, piece in enumerate(vocabulary.rstrip("\n").split("\n"))},
        **_casing_of(vocabulary),
    )


def _refusal(backbone: str, what: str, error: Exception) -> InputError:
    reason = reason_of(error)
    if "trust_remote_code" in str(error):  # transformers' message advises to run the code
        reason = "must be read by classes of transformers, but its files name own code, which is never run"
    elif reason.endswith(":"):  # the rest gives the reason
        reason = " ".join(str(error).split())
    return InputError(f"student.backbone {backbone}: has no usable {what}: {reason}")
