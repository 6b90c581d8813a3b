"""The encoder of BERT and its variants: transformers' weights and outputs, in fewer operations and modules.

Importing transformers' class takes as much processor time as importing torch, and 200 MB in each process.
Names of modules and weights, states, and the random weights of a seed are those of its class.

On a CPU query, key and value are one product, and attention over a sentence's ten or twenty tokens is two
batched products, which take less time there than torch's fused kernel. States between layers stay float32;
they are rounded for the products that read them.

Shape suffixes: B sentences, L tokens, H width, N heads, D width of a head, I inner width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from themo.models.bert_files import ARCHITECTURES, refuse_heads

DTYPE = torch.float32
"""Type of every encoder's weights. transformers would keep the published type, but half precision rounds an
optimiser's steps away."""

_ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_new": partial(F.gelu, approximate="tanh"),
    "gelu_pytorch_tanh": partial(F.gelu, approximate="tanh"),
    "relu": F.relu,
    "silu": F.silu,
}
"""Functions of `bert_files.ACTIVATIONS`."""

_LONGEST_FOR_PRODUCTS = 64
"""Longer sentences take torch's fused attention, whose memory does not grow with L squared."""


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


class BertEncoder(nn.Module):
    """The encoder, without a pooler, in float32; random weights use torch's random state.

    Args:
        config: A configuration of transformers that `is_bert`.

    Raises:
        ValueError: The heads do not divide the width.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        refuse_heads(config)
        self.config = config
        self.embeddings = _Embeddings(config)
        self.encoder = _Layers(config)
        # transformers draws a pooler's weights, too: without them a seed would give the head other ones
        pooler = nn.Linear(config.hidden_size, config.hidden_size)
        for module in (self, pooler):
            module.apply(partial(_initialize, std=config.initializer_range))

    @property
    def architecture(self) -> str:
        """Name of transformers' class."""
        return ARCHITECTURES[self.config.model_type]

    def weights(self, dtype: torch.dtype) -> list[LayerWeights]:
        """Convert the weights of all layers to the data type of their products; gradients flow back."""
        return [layer.weights(dtype) for layer in self.encoder]

    def forward(
        self, ids_BL: Tensor, mask_BL: Tensor | None = None, weights: Sequence[LayerWeights] | None = None
    ) -> Tensor:
        """Return the last hidden states, (B, L, H) float32. Those of padding are undefined.

        Args:
            ids_BL: int64 token ids.
            mask_BL: bool, True for real tokens; None where all are.
            weights: Result of `weights`; None: converted now, to the data type of autocast.
        """
        device = ids_BL.device.type
        is_mixed = torch.is_autocast_enabled(device)
        if weights is None:
            weights = self.weights(torch.get_autocast_dtype(device) if is_mixed else torch.float32)
        with torch.autocast(device, enabled=False) if is_mixed else nullcontext():
            x_BLH: Tensor = self.embeddings(ids_BL)
            mask_B11L = None if mask_BL is None else _attention_mask(mask_BL)
            for layer, own in zip(self.encoder, weights, strict=True):
                x_BLH = layer(x_BLH, mask_B11L, own)
        return x_BLH


def _attention_mask(mask_BL: Tensor) -> Tensor:
    """On a CPU the term that scores get, float32; on a GPU, whose kernels take it, True for real tokens."""
    if mask_BL.device.type != "cpu":
        return mask_BL[:, None, None]
    return torch.zeros(mask_BL.shape).masked_fill(~mask_BL, torch.finfo(torch.float32).min)[:, None, None]


class _Embeddings(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        width, padding = config.hidden_size, config.pad_token_id
        self.of_bert = config.model_type == "bert"
        self.word_embeddings = nn.Embedding(config.vocab_size, width, padding_idx=padding)
        if self.of_bert:  # the order in which transformers draws random weights
            self.position_embeddings = nn.Embedding(config.max_position_embeddings, width)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, width)
        self.LayerNorm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        if not self.of_bert:
            self.position_embeddings = nn.Embedding(
                config.max_position_embeddings, width, padding_idx=padding
            )
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, ids_BL: Tensor) -> Tensor:
        types_BLH = self.token_type_embeddings(torch.zeros_like(ids_BL))
        words_BLH = self.word_embeddings(ids_BL) + types_BLH
        states: Tensor = self.dropout(
            self.LayerNorm(words_BLH + self.position_embeddings(self._positions(ids_BL)))
        )
        return states

    def _positions(self, ids_BL: Tensor) -> Tensor:
        """BERT counts from 0; RoBERTa counts real tokens from the one behind padding's own position."""
        if self.of_bert:
            return torch.arange(ids_BL.shape[1], device=ids_BL.device)
        padding: int = self.word_embeddings.padding_idx  # type: ignore[assignment]  # see `is_bert`
        is_real_BL = ids_BL.ne(padding).long()
        return is_real_BL.cumsum(1) * is_real_BL + padding


class _Layers(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        self.layer = nn.ModuleList(_Layer(config) for _ in range(config.num_hidden_layers))

    def __iter__(self) -> Iterator[_Layer]:
        return iter(self.layer)  # type: ignore[arg-type]


class _Layer(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        width, inner = config.hidden_size, config.intermediate_size
        self.attention = _Attention(config)
        self.intermediate = _Dense(width, inner)
        self.output = _Output(config, inner)
        self.activate = _ACTIVATIONS[config.hidden_act]

    def weights(self, dtype: torch.dtype) -> LayerWeights:
        attention = self.attention.self
        parts = (attention.query, attention.key, attention.value)
        weight, bias = (torch.cat([getattr(part, name) for part in parts]) for name in ("weight", "bias"))
        linear = (self.attention.output.dense, self.intermediate.dense, self.output.dense)
        return LayerWeights(
            (weight.to(dtype), bias.to(dtype)),
            *((dense.weight.to(dtype), dense.bias.to(dtype)) for dense in linear),
        )

    def forward(self, x_BLH: Tensor, mask_B11L: Tensor | None, weights: LayerWeights) -> Tensor:
        dtype = weights.mixed[0].dtype
        heads_BLH = self.attention.self(F.linear(x_BLH.to(dtype), *weights.attended), mask_B11L)
        x_BLH = self.attention.output(F.linear(heads_BLH, *weights.mixed), x_BLH)
        hidden_BLI = self.activate(F.linear(x_BLH.to(dtype), *weights.widened))
        normed_BLH: Tensor = self.output(F.linear(hidden_BLI, *weights.narrowed), x_BLH)
        return normed_BLH


class _Attention(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        self.self = _SelfAttention(config)
        self.output = _Output(config, config.hidden_size)


class _SelfAttention(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        width = config.hidden_size
        self.n_heads = config.num_attention_heads
        self.scale = (width // self.n_heads) ** -0.5
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.dropout = nn.Dropout(config.attention_probs_dropout_prob)

    def forward(self, qkv: Tensor, mask_B11L: Tensor | None) -> Tensor:
        """Return the weighted values, (B, L, H), of queries, keys and values, (B, L, 3H)."""
        qkv = qkv.unflatten(2, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)  # (3, B, N, L, D)
        is_on_cpu = qkv.device.type == "cpu"
        if is_on_cpu and qkv.shape[3] <= _LONGEST_FOR_PRODUCTS:
            return self._by_products(qkv, mask_B11L)
        rate = self.dropout.p if self.training else 0.0
        q, k, v = qkv.float() if is_on_cpu else qkv  # torch's bfloat16 kernel is slow on a CPU (measured)
        heads_BNLD = F.scaled_dot_product_attention(q, k, v, attn_mask=mask_B11L, dropout_p=rate)
        return heads_BNLD.to(qkv.dtype).transpose(1, 2).flatten(2)

    def _by_products(self, qkv: Tensor, bias_B11L: Tensor | None) -> Tensor:
        q, k, v = qkv.flatten(1, 2)  # each (B * N, L, D)
        scores = torch.bmm(q, k.transpose(1, 2)).float() * self.scale
        if bias_B11L is not None:
            scores = (scores.unflatten(0, (-1, self.n_heads)) + bias_B11L).flatten(0, 1)
        shares = self.dropout(scores.softmax(dim=-1)).to(qkv.dtype)
        heads: Tensor = torch.bmm(shares, v).unflatten(0, (-1, self.n_heads))
        return heads.transpose(1, 2).flatten(2)


class _Dense(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, inner)


class _Output(nn.Module):
    def __init__(self, config: Any, inner: int) -> None:
        super().__init__()
        self.dense = nn.Linear(inner, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, product_BLH: Tensor, residual_BLH: Tensor) -> Tensor:
        normed_BLH: Tensor = self.LayerNorm(self.dropout(product_BLH) + residual_BLH)
        return normed_BLH


@torch.no_grad()
def _initialize(module: nn.Module, std: float) -> None:
    """Draw a module's own weights as transformers does."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=std)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
    if isinstance(module, nn.Embedding) and module.padding_idx is not None:
        module.weight[module.padding_idx] = 0
