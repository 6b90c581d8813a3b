"""Text encoders of Multilingual-CLIP, such as ``M-CLIP/XLM-Roberta-Large-Vit-B-32``, by hub name or folder.

The package ``multilingual-clip`` cannot load its own models with transformers 5. A model is an encoder, the
mean of its states and a linear layer, so it is loaded as a `Student`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from themo.config.sections import MAX_TOKENS
from themo.errors import InputError, reason_of
from themo.files.weights import read_weights
from themo.models.backbones import longest_input
from themo.models.bert import DTYPE, BertEncoder
from themo.models.bert_files import is_bert
from themo.models.student import Head, Student
from themo.models.token_ids import refuse_largest_id
from themo.models.tokens import Tokenizer
from themo.process.progress import track

_ENCODER, _LINEAR = "transformer.", "LinearTransformation."
_NOT_NEEDED = ("transformer.embeddings.position_ids", "transformer.pooler.")
"""Prefixes of ignored keys: a buffer that transformers makes itself, and a layer after the last state."""
_KEYS: dict[str, type] = {"modelBase": str, "numDims": int, "transformerDimensions": int}


class MClip:
    """A text encoder of Multilingual-CLIP. Build one with `MClip.load`.

    Attributes:
        student: Encoder and linear layer, in eval mode.
        tokenizer: The encoder's tokenizer.
    """

    def __init__(self, student: Student, tokenizer: Tokenizer) -> None:
        self.student = student.eval().requires_grad_(False)
        self.tokenizer = tokenizer

    @classmethod
    def load(cls, name: str, device: str | torch.device = "cpu") -> MClip:
        """Load a text encoder with its weights and tokenizer.

        Args:
            name: Repository of the hub, or a folder with the same files.
            device: Device of the encoder.

        Raises:
            InputError: The model is unknown or damaged, or its weights have another shape or hold code.
        """
        from themo.fetching.hub import fetch_model  # imports take a second

        what = f"M-CLIP model {name}"
        folder = fetch_model(name, what)
        settings = _read_settings(folder / "config.json")
        config = _base_config(settings["modelBase"], what)
        student = _build(config, settings["numDims"], what)
        width = student.projection.in_features
        if width != settings["transformerDimensions"]:
            raise InputError(
                f"{what}: transformerDimensions must be the width {width} of {settings['modelBase']}, "
                f"got {settings['transformerDimensions']}"
            )
        tokenizer = _load_tokenizer(folder, config, what)
        _fill(student, read_weights(folder, what), what)
        return cls(student.to(device), tokenizer)

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Encode texts of any language that the model knows.

        Args:
            texts: N texts; longer ones are cut to the encoder's positions.

        Returns:
            (N, E) float32 on the CPU, of any length, in the order of `texts`.
        """
        with track("M-CLIP reads", len(texts), "texts") as advance:
            return self.student.encode(self.tokenizer, texts, advance=advance)

    @property
    def dimension(self) -> int:
        """E, length of a vector."""
        return self.student.head.dimension


def _read_settings(path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: must be the configuration of an M-CLIP model: {reason_of(error)}"
        ) from error
    for key, expected in _KEYS.items():
        value = settings.get(key) if isinstance(settings, dict) else None
        if not isinstance(value, expected):
            raise InputError(
                f"{path}: must be the configuration of an M-CLIP model, whose {key} is of type "
                f"{expected.__name__}, got {value!r}"
            )
    return dict(settings)


def _base_config(base: str, what: str) -> Any:
    from transformers import AutoConfig  # a second of processor time

    from themo.fetching.hub import fetch_model

    folder = fetch_model(base, f"{what}: its base {base}", ["config.json"], weights=False)
    try:
        return AutoConfig.from_pretrained(str(folder), trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{what}: its base {base} has no usable config.json: {reason_of(error)}") from error


def _load_tokenizer(folder: Path, config: Any, what: str) -> Tokenizer:
    from transformers import AutoTokenizer

    try:
        # with the base's configuration: transformers has no model of type M-CLIP
        inner = AutoTokenizer.from_pretrained(str(folder), config=config, trust_remote_code=False)
        # without these files, transformers gives a tokenizer of only special tokens
        files = sorted(inner.vocab_files_names.values())
        if not any((folder / file).is_file() for file in files):
            raise FileNotFoundError(f"must have one of {', '.join(files)}")
        tokenizer = Tokenizer(inner)
    except Exception as error:  # tokenizers and sentencepiece raise Exception itself
        raise InputError(f"{what}: has no usable tokenizer: {reason_of(error)}") from error
    refuse_largest_id(what, tokenizer.largest_id, config.vocab_size, owner="base")
    return tokenizer


def _build(config: Any, dimension: int, what: str) -> Student:
    try:
        encoder = BertEncoder(config) if is_bert(config) else _by_transformers(config)
        head = Head(
            dimension=dimension,
            pooling="mean",
            last_layer_norm=False,
            projection_bias=True,
            max_length=min(longest_input(config) or MAX_TOKENS, MAX_TOKENS),
        )
        return Student(encoder, head)
    except (AttributeError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{what}: its base must be an encoder like XLM-R: {reason_of(error)}") from error


def _by_transformers(config: Any) -> Any:
    from transformers import AutoModel  # seconds of processor time

    return AutoModel.from_config(config, add_pooling_layer=False, dtype=DTYPE, trust_remote_code=False)


def _fill(student: Student, weights: Mapping[str, Tensor], what: str) -> None:
    own = {_hub_key(key): key for key in student.state_dict()}
    given = {key: value for key, value in weights.items() if not key.startswith(_NOT_NEEDED)}
    for keys, fault in ((own.keys() - given.keys(), "lack"), (given.keys() - own.keys(), "have besides")):
        if keys:
            raise InputError(
                f"{what}: its weights must be those of its base and a linear layer, they {fault} "
                f"{len(keys)} tensors, the first is {min(keys)}"
            )
    shapes = {key: value.shape for key, value in student.state_dict().items()}
    for key, value in given.items():
        if value.shape != shapes[own[key]]:
            raise InputError(
                f"{what}: {key} must be of shape {tuple(shapes[own[key]])}, got {tuple(value.shape)}"
            )
    student.load_state_dict({own[key]: value for key, value in given.items()})


def _hub_key(key: str) -> str:
    """Return the key in an M-CLIP repository of a tensor of `Student`."""
    return key.replace("backbone.", _ENCODER, 1).replace("projection.", _LINEAR, 1)
