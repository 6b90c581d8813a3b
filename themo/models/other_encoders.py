"""Encoders as transformers computes them: all but `themo.models.bert`, and pretrained weights of any.

Importing this module takes seconds of processor time and 200 MB.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    MODEL_MAPPING,
    AttentionInterface,
    AttentionMaskInterface,
    AutoModel,
    BertConfig,
)
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from themo.models.bert import DTYPE, BertEncoder
from themo.models.bert_files import PlainConfig

ATTENTION = "themo_sdpa"


def _attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **options: Any,
) -> Any:
    """SDPA; on a CPU in float32: torch's bfloat16 backward there takes half of a training step (measured)."""
    if query.device.type != "cpu" or query.dtype == torch.float32:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    with torch.autocast("cpu", enabled=False):
        return sdpa_attention_forward(
            module, query.float(), key.float(), value.float(), attention_mask, **options
        )


AttentionInterface.register(ATTENTION, _attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)


def config_of_transformers(config: Any) -> Any:
    """A copy of a configuration, of transformers' class also where it was plain."""
    return BertConfig.from_dict(vars(config)) if isinstance(config, PlainConfig) else copy.deepcopy(config)


def of_config(config: Any) -> Any:
    """Transformers' encoder of a configuration, with random weights, without its pooling head."""
    model = AutoModel.from_config(
        config, attn_implementation=_attention_of(config), dtype=DTYPE, trust_remote_code=False
    )
    return _as_trained(model)


def _keep_states_in_float32(model: nn.Module) -> None:
    """Make the states between layers float32 under a CPU's autocast, as they are under CUDA's.

    CUDA's autocast computes layer norms in float32, a CPU's in the type of their input. ELECTRA, ALBERT,
    ConvBERT and others widen the embeddings by a matrix product, whose result is the first state and sets the
    type of all others.
    """
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.register_forward_pre_hook(_in_float32)
    for part in (model, getattr(model, "encoder", None)):
        for child in part.children() if part is not None else ():
            if isinstance(child, nn.Linear):
                child.register_forward_hook(_out_float32)


def _in_float32(_module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(value.float() for value in inputs)


def _out_float32(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return output.float()


def _attention_of(config: Any) -> str:
    """`ATTENTION`, or transformers' plain one for encoders that take no other, such as ConvBERT."""
    kind = MODEL_MAPPING.get(type(config), None)
    return ATTENTION if getattr(kind, "_supports_sdpa", False) else "eager"


def of_weights(backbone: str, config: Any) -> Any:
    """Transformers' encoder with its pretrained weights.

    Args:
        backbone: Name or folder.
        config: Configuration of the backbone.

    Raises:
        ValueError: The weights lack a tensor.
    """
    config = config_of_transformers(config)
    model, loading = AutoModel.from_pretrained(
        backbone,
        config=config,
        attn_implementation=_attention_of(config),
        dtype=DTYPE,
        weights_only=True,
        trust_remote_code=False,
        output_loading_info=True,
    )
    # transformers would continue with random ones
    missing = sorted(key for key in loading["missing_keys"] if not key.startswith("pooler."))
    if missing:
        raise ValueError(f"its weights lack {len(missing)} of the model's tensors, the first is {missing[0]}")
    return _as_trained(model)


def with_plain_attention(encoder: BertEncoder) -> Any:
    """The same encoder as a class of transformers, in eval mode, whose attention is plain products."""
    config = config_of_transformers(encoder.config)
    model = AutoModel.from_config(config, attn_implementation="eager", dtype=DTYPE, trust_remote_code=False)
    model.pooler = None
    model.load_state_dict(encoder.state_dict())
    return model.eval()


def _as_trained(model: Any) -> Any:
    if hasattr(model, "pooler"):
        model.pooler = None  # BERT's next-sentence head: never used here
    _keep_states_in_float32(model)
    return model
