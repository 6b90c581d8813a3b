"""The layers of BERT and its kin in fewer operations than transformers takes, for a CPU.

Same weights, same function. Query, key and value are one product. Attention over a sentence's ten or twenty
tokens is two batched products, which take less time there than torch's fused kernel. States between layers
stay float32; they are rounded for the products that read them.

Shape suffixes: B sentences, L tokens, H width, N heads, D width of a head, I inner width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from transformers import BertModel, CamembertModel, RobertaModel, XLMRobertaModel

_KINDS = (BertModel, RobertaModel, XLMRobertaModel, CamembertModel)
"""Encoders with the same modules by the same names."""

_LONGEST_FOR_PRODUCTS = 64
"""Longer sentences take torch's fused attention in float32, whose memory does not grow with L squared."""


@dataclass(frozen=True)
class LayerWeights:
    """The matrices and biases of a layer in the data type of its products.

    Attributes:
        attended: (3H, H) and (3H,) of query, key and value.
        mixed: (H, H) and (H,) behind the attention.
        widened: (I, H) and (I,).
        narrowed: (H, I) and (H,).
    """

    attended: tuple[Tensor, Tensor]
    mixed: tuple[Tensor, Tensor]
    widened: tuple[Tensor, Tensor]
    narrowed: tuple[Tensor, Tensor]

    @classmethod
    def of(cls, layer: Any, dtype: torch.dtype) -> LayerWeights:
        """Convert the weights of a transformers layer; gradients flow back to them."""
        attention = layer.attention.self
        parts = (attention.query, attention.key, attention.value)
        weight, bias = (torch.cat([getattr(part, name) for part in parts]) for name in ("weight", "bias"))
        linear = (layer.attention.output.dense, layer.intermediate.dense, layer.output.dense)
        return cls(
            (weight.to(dtype), bias.to(dtype)),
            *((dense.weight.to(dtype), dense.bias.to(dtype)) for dense in linear),
        )


def has_bert_layers(model: nn.Module) -> bool:
    """Return whether `bert_states` computes the states of this encoder."""
    config: Any = model.config
    return (
        type(model) in _KINDS
        and not config.is_decoder
        and not config.add_cross_attention
        and getattr(config, "position_embedding_type", "absolute") == "absolute"
    )


def bert_weights(model: Any, dtype: torch.dtype) -> list[LayerWeights]:
    """Convert the weights of all layers to the data type of their products."""
    return [LayerWeights.of(layer, dtype) for layer in model.encoder.layer]


def bert_states(
    model: Any, ids_BL: Tensor, mask_BL: Tensor | None, weights: Sequence[LayerWeights] | None = None
) -> Tensor:
    """Return the last hidden states, (B, L, H) float32. Those of padding are undefined.

    Args:
        model: An encoder that `has_bert_layers`, on a CPU.
        ids_BL: int64 token ids.
        mask_BL: bool, True for real tokens; None where all are.
        weights: What `bert_weights` returned; None: the model's own, in the data type of autocast.
    """
    if weights is None:
        autocast = torch.is_autocast_enabled("cpu")
        weights = bert_weights(model, torch.get_autocast_dtype("cpu") if autocast else torch.float32)
    with torch.autocast("cpu", enabled=False):
        x_BLH: Tensor = model.embeddings(input_ids=ids_BL)
        bias_B11L = None
        if mask_BL is not None:
            bias_B11L = torch.zeros(mask_BL.shape).masked_fill(~mask_BL, torch.finfo(torch.float32).min)
            bias_B11L = bias_B11L[:, None, None]
        for layer, own in zip(model.encoder.layer, weights, strict=True):
            x_BLH = _layer(layer, own, x_BLH, bias_B11L)
    return x_BLH


def _layer(layer: Any, weights: LayerWeights, x_BLH: Tensor, bias_B11L: Tensor | None) -> Tensor:
    dtype, output = weights.mixed[0].dtype, layer.attention.output
    heads_BLH = _attention(layer.attention.self, F.linear(x_BLH.to(dtype), *weights.attended), bias_B11L)
    x_BLH = output.LayerNorm(output.dropout(F.linear(heads_BLH, *weights.mixed)) + x_BLH)
    hidden_BLI = layer.intermediate.intermediate_act_fn(F.linear(x_BLH.to(dtype), *weights.widened))
    added_BLH = layer.output.dropout(F.linear(hidden_BLI, *weights.narrowed))
    normed_BLH: Tensor = layer.output.LayerNorm(added_BLH + x_BLH)
    return normed_BLH


def _attention(attention: Any, qkv: Tensor, bias_B11L: Tensor | None) -> Tensor:
    """Return the weighted values of all heads, (B, L, H), of their queries, keys and values, (B, L, 3H)."""
    n_heads = attention.num_attention_heads
    qkv = qkv.unflatten(2, (3, n_heads, -1)).permute(2, 0, 3, 1, 4)  # (3, B, N, L, D)
    if qkv.shape[3] > _LONGEST_FOR_PRODUCTS:
        rate = attention.dropout.p if attention.training else 0.0
        q, k, v = qkv.float()
        heads_BNLD = F.scaled_dot_product_attention(q, k, v, attn_mask=bias_B11L, dropout_p=rate)
        return heads_BNLD.to(qkv.dtype).transpose(1, 2).flatten(2)
    q, k, v = qkv.flatten(1, 2)  # each (B * N, L, D)
    scores = torch.bmm(q, k.transpose(1, 2)).float() * attention.attention_head_size**-0.5
    if bias_B11L is not None:
        scores = (scores.unflatten(0, (-1, n_heads)) + bias_B11L).flatten(0, 1)
    shares = attention.dropout(scores.softmax(dim=-1)).to(qkv.dtype)
    heads: Tensor = torch.bmm(shares, v).unflatten(0, (-1, n_heads))
    return heads.transpose(1, 2).flatten(2)
