"""The teacher's two towers in plain PyTorch: open_clip's CLIP, weight for weight, in a fraction of the time.

Only values that the loss needs are computed. A tower's output is the last layer's state of a single token, so
that layer computes no other token: a quarter less work over three layers, two fifths over two. Attention over
ten or twenty tokens is two small matrix products; open_clip's fused kernel is several times slower at these
sizes in bfloat16. Parameters have the names and the initial distribution of open_clip 3.3.
"""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn

from themo.miniature.drawing import CELL_PIXELS, GRID
from themo.miniature.vocabulary import CONTEXT_LENGTH

EMBEDDED = 64
"""Width of both towers' vectors."""
IMAGE_WIDTH, IMAGE_LAYERS, IMAGE_HEADS = 96, 3, 3
TEXT_WIDTH, TEXT_LAYERS, TEXT_HEADS = 64, 2, 2

# B batch, L tokens, W width, H heads, D width of a head, E width of the vectors, P patches of K numbers.


def matrix_product_dtype() -> torch.dtype:
    """Return bfloat16 if the CPU multiplies it in hardware (AMX or AVX-512), float32 elsewhere."""
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    has_units = capabilities.get("amx_bf16", False) or capabilities.get("avx512_bf16", False)
    return torch.bfloat16 if has_units else torch.float32


class FeedForward(nn.Module):
    """The two linear layers of a transformer layer, in the type of their input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width)
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, x_BLW: Tensor) -> Tensor:
        """Return (B, L, W), the shape of the input."""
        hidden = F.gelu(_linear(x_BLW, self.c_fc.weight, self.c_fc.bias))
        return _linear(hidden, self.c_proj.weight, self.c_proj.bias)


class Block(nn.Module):
    """A pre-norm transformer layer, like open_clip's `ResidualAttentionBlock`."""

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, n_heads, batch_first=True)  # its weights only
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = FeedForward(width)

    def forward(
        self, x_BLW: Tensor, mask: Tensor | None, dtype: torch.dtype, asked_B: Tensor | None = None
    ) -> Tensor:
        """Return the states after this layer, float32.

        Args:
            x_BLW: (B, L, W) float32.
            mask: Added to the scores of attention, (L, L), or (B, 1, L) with `asked_B`; None: no mask.
            dtype: Type of matrix products.
            asked_B: (B,) int64, the one token of each row whose state is returned; None: all tokens.

        Returns:
            (B, L, W), with `asked_B` (B, 1, W).
        """
        attention, width, n_heads = self.attn, x_BLW.shape[2], self.attn.num_heads
        weight, bias = attention.in_proj_weight, attention.in_proj_bias
        normed_BLW = self.ln_1(x_BLW).to(dtype)
        if asked_B is None:
            q, k, v = _heads(_linear(normed_BLW, weight, bias), 3, n_heads)
        else:
            rows = torch.arange(len(x_BLW))
            k, v = _heads(_linear(normed_BLW, weight[width:], bias[width:]), 2, n_heads)
            (q,) = _heads(
                _linear(normed_BLW[rows, asked_B][:, None], weight[:width], bias[:width]), 1, n_heads
            )
            x_BLW = x_BLW[rows, asked_B][:, None]
        scores = torch.bmm(q, k.transpose(1, 2)).float().mul_((width // n_heads) ** -0.5)
        if mask is not None:
            scores = scores.unflatten(0, (-1, n_heads)).add(mask if mask.ndim == 2 else mask[:, None])
            scores = scores.flatten(0, 1)
        states = torch.bmm(scores.softmax(dim=-1).to(dtype), v)  # (B * H, L, D)
        states_BLW = states.unflatten(0, (-1, n_heads)).transpose(1, 2).flatten(2)
        x_BLW = x_BLW + _linear(states_BLW, attention.out_proj.weight, attention.out_proj.bias).float()
        hidden_BLW: Tensor = self.mlp(self.ln_2(x_BLW).to(dtype))
        return x_BLW + hidden_BLW.float()


class Transformer(nn.Module):
    """Layers like open_clip's `Transformer`; the last one returns the state of one token per row."""

    def __init__(self, width: int, n_heads: int, n_layers: int) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(Block(width, n_heads) for _ in range(n_layers))

    def forward(
        self, x_BLW: Tensor, asked_B: Tensor, dtype: torch.dtype, mask_LL: Tensor | None = None
    ) -> Tensor:
        """Return the state of token `asked_B[i]` of row i after the last layer, (B, W) float32."""
        blocks = cast("list[Block]", list(self.resblocks))
        for block in blocks[:-1]:
            x_BLW = block(x_BLW, mask_LL, dtype)
        asked_mask = None if mask_LL is None else mask_LL[asked_B][:, None]
        state_B1W: Tensor = blocks[-1](x_BLW, asked_mask, dtype, asked_B)
        return state_B1W[:, 0]


class ImageTower(nn.Module):
    """open_clip's `VisionTransformer`; its patches are the cells of the pictures."""

    def __init__(self) -> None:
        super().__init__()
        width, scale = IMAGE_WIDTH, IMAGE_WIDTH**-0.5
        self.conv1 = nn.Conv2d(3, width, CELL_PIXELS, stride=CELL_PIXELS, bias=False)  # its weights only
        self.class_embedding = nn.Parameter(scale * torch.randn(width))
        self.positional_embedding = nn.Parameter(scale * torch.randn(1 + GRID * GRID, width))
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = Transformer(width, IMAGE_HEADS, IMAGE_LAYERS)
        self.ln_post = nn.LayerNorm(width)
        self.proj = nn.Parameter(scale * torch.randn(width, EMBEDDED))

    def forward(self, patches_BPK: Tensor, dtype: torch.dtype) -> Tensor:
        """Return (B, E) float32 vectors of length 1.

        Args:
            patches_BPK: (B, P, K) float32, as `patches` gives them.
            dtype: Type of matrix products.
        """
        embedded = _linear(patches_BPK.to(dtype), self.conv1.weight.flatten(1), None).float()
        first = self.class_embedding.expand(len(embedded), 1, -1)
        x_BLW = self.ln_pre(torch.cat([first, embedded], dim=1) + self.positional_embedding)
        class_token_B = torch.zeros(len(x_BLW), dtype=torch.int64)
        state_BW = self.ln_post(self.transformer(x_BLW, class_token_B, dtype))
        return F.normalize(state_BW @ self.proj, dim=-1)


class TextTower(nn.Module):
    """open_clip's `TextTransformer`, which is causal."""

    def __init__(self, vocabulary_size: int) -> None:
        super().__init__()
        width, n_layers = TEXT_WIDTH, TEXT_LAYERS
        self.token_embedding = nn.Embedding(vocabulary_size, width)
        self.positional_embedding = nn.Parameter(0.01 * torch.randn(CONTEXT_LENGTH, width))
        self.transformer = Transformer(width, TEXT_HEADS, n_layers)
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(width**-0.5 * torch.randn(width, EMBEDDED))
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        for block in cast("list[Block]", list(self.transformer.resblocks)):
            nn.init.normal_(block.attn.in_proj_weight, std=width**-0.5)
            nn.init.normal_(block.attn.out_proj.weight, std=(2 * n_layers * width) ** -0.5)
            nn.init.normal_(block.mlp.c_fc.weight, std=(2 * width) ** -0.5)
            nn.init.normal_(block.mlp.c_proj.weight, std=(2 * n_layers * width) ** -0.5)

    def forward(self, tokens_BL: Tensor, dtype: torch.dtype) -> Tensor:
        """Return (B, E) float32 vectors of length 1.

        A causal tower's end-of-text state does not depend on later tokens: texts may be cut to the longest.

        Args:
            tokens_BL: (B, L) int64, 0 after the end of text, which has the highest number.
            dtype: Type of matrix products.
        """
        length = tokens_BL.shape[1]
        end_B = tokens_BL.argmax(dim=-1)
        x_BLW = F.embedding(tokens_BL, self.token_embedding.weight) + self.positional_embedding[:length]
        causal_LL = torch.full((length, length), -math.inf).triu(1)
        end_BW = self.ln_final(self.transformer(x_BLW, end_B, dtype, causal_LL))
        return F.normalize(end_BW @ self.text_projection, dim=-1)


def patches(pictures: NDArray[np.uint8], side: int) -> Tensor:
    """Cut (B, S, S, 3) uint8 pictures into (B, P, K) uint8 patches, in the order of `conv1`'s weights."""
    n, size = len(pictures), pictures.shape[1] // side
    cut = torch.from_numpy(pictures).view(n, size, side, size, side, 3).permute(0, 1, 3, 5, 2, 4)
    return cut.reshape(n, size * size, 3 * side * side)


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return F.linear(x, weight.to(x.dtype), None if bias is None else bias.to(x.dtype))


def _heads(x_BLW: Tensor, parts: int, n_heads: int) -> list[Tensor]:
    """Cut (B, L, parts * W) into parts of (B * H, L, D)."""
    cut = x_BLW.unflatten(2, (parts, n_heads, -1)).permute(2, 0, 3, 1, 4)
    return list(cut.flatten(1, 2))
