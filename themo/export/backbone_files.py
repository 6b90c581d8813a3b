"""A student's backbone and tokenizer as ordinary files of transformers and tokenizers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import load_file
from tokenizers import Tokenizer as Backend
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from themo.files.weights import SAFE_WEIGHTS, write_weights
from themo.models.bert import BertEncoder
from themo.models.other_encoders import config_of_transformers
from themo.models.student import Student
from themo.models.tokens import Tokenizer

_SPECIALS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


def write_config(folder: Path, student: Student, tokenizer: Tokenizer) -> None:
    """Write the backbone's ``config.json``, without local paths."""
    config = config_of_transformers(student.backbone.config)
    own = student.backbone
    name = own.architecture if isinstance(own, BertEncoder) else type(own).__name__
    config.architectures = [name]
    config.pad_token_id = tokenizer.pad_id  # early configurations lack it
    config.save_pretrained(folder)


def has_pooler(student: Student) -> bool:
    """Whether the backbone has a pooler in transformers; students never use it."""
    return isinstance(student.backbone, BertEncoder) or hasattr(student.backbone, "pooler")


def write_backbone(folder: Path, student: Student, tokenizer: Tokenizer) -> None:
    """Write ``config.json``, ``model.safetensors`` and the tokenizer: an ordinary folder of transformers."""
    write_config(folder, student, tokenizer)
    write_tensors(folder / "model.safetensors", student.backbone.state_dict())
    write_tokenizer(folder, tokenizer, student.head.max_length)


def write_tokenizer(folder: Path, tokenizer: Tokenizer, max_length: int) -> None:
    """Write ``tokenizer.json``, with padding and truncation, and ``tokenizer_config.json``.

    Every tokenizer is written as the plain class around ``tokenizer.json``: other classes, such as BERT's,
    override the handling of accents and capitals when they are loaded.
    """
    inner = tokenizer.inner
    backend = Backend.from_str(inner.backend_tokenizer.to_str())
    specials = {name: str(getattr(inner, name)) for name in _SPECIALS if getattr(inner, name, None)}
    specials.setdefault("pad_token", str(backend.id_to_token(tokenizer.pad_id)))
    backend.enable_truncation(max_length)
    backend.enable_padding(pad_id=tokenizer.pad_id, pad_token=specials["pad_token"])
    plain = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=max_length,
        model_input_names=["input_ids", "attention_mask"],
        **specials,
    )
    plain.save_pretrained(folder)
    backend.save(str(folder / "tokenizer.json"))
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    # transformers 5 calls the plain class by a name that 4 does not know
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    path.write_text(json.dumps(config, indent=2, ensure_ascii=False), encoding="utf-8")


def round_backbone(folder: Path) -> str:
    """Store the backbone's weights in bfloat16; return a note for the card.

    ``config.json`` still says float32, so transformers computes in float32 with the rounded weights.
    """
    path = folder / SAFE_WEIGHTS
    before = path.stat().st_size
    write_tensors(path, {name: t.bfloat16() for name, t in load_file(path).items()})
    return (
        f"The backbone's weights are in bfloat16: {path.stat().st_size / 1e6:,.1f} MB in place of "
        f"{before / 1e6:,.1f}. They are read into float32."
    )


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors by name as safetensors."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_weights(
        {name: t.detach().cpu().contiguous() for name, t in tensors.items()}, path, {"format": "pt"}
    )
