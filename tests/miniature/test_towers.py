from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch

from themo.miniature.drawing import CELL_PIXELS, draw, place
from themo.miniature.families import family_batch
from themo.miniature.grammar import english_sentence
from themo.miniature.scenes import World
from themo.miniature.teaching import model_config, normalised
from themo.miniature.towers import ImageTower, TextTower, matrix_product_dtype, patches
from themo.miniature.vocabulary import CONTEXT_LENGTH, encoder, vocabulary_size, write_bpe

N_FAMILIES = 4


class Case:
    """open_clip's model, the towers with its weights, and a batch as each of them reads it."""

    def __init__(self, bpe: Path) -> None:
        write_bpe(bpe)
        rng, words = np.random.default_rng(0), random.Random(0)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.model: Any = open_clip.model.CLIP(**model_config(vocabulary_size(bpe)))
            self.image, self.text = ImageTower(), TextTower(vocabulary_size(bpe))
        weights = self.model.state_dict()
        self.image.load_state_dict(
            {name.removeprefix("visual."): w for name, w in weights.items() if name.startswith("visual.")}
        )
        self.text.load_state_dict(
            {name: w for name, w in weights.items() if not name.startswith(("visual.", "logit_scale"))}
        )
        scenes, contents, _ = family_batch(World(0), N_FAMILIES, 40, rng)
        pictures = draw(scenes, place(scenes, rng))
        self.pixels = normalised(torch.from_numpy(pictures).permute(0, 3, 1, 2))
        self.patches = normalised(patches(pictures, CELL_PIXELS))
        self.tokens = encoder(bpe)([english_sentence(content, words.choice) for content in contents])
        self.padded = torch.nn.functional.pad(self.tokens, (0, CONTEXT_LENGTH - self.tokens.shape[1]))


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path / "bpe.txt.gz")


def test_image_tower_in_float32_equals_open_clip(case: Case) -> None:
    expected = case.model.encode_image(case.pixels, normalize=True)
    torch.testing.assert_close(case.image(case.patches, torch.float32), expected, atol=1e-6, rtol=1e-5)


def test_trimmed_texts_encode_like_open_clips_padded_ones(case: Case) -> None:
    assert case.tokens.shape[1] < CONTEXT_LENGTH
    expected = case.model.encode_text(case.padded, normalize=True)
    torch.testing.assert_close(case.text(case.tokens, torch.float32), expected, atol=1e-6, rtol=1e-5)


def test_gradients_in_float32_equal_those_of_open_clip(case: Case) -> None:
    wanted = torch.randn(N_FAMILIES * 4, 64, generator=torch.Generator().manual_seed(0))
    for vectors in (
        case.model.encode_image(case.pixels, normalize=True),
        case.model.encode_text(case.padded, normalize=True),
        case.image(case.patches, torch.float32),
        case.text(case.tokens, torch.float32),
    ):
        (vectors * wanted).sum().backward()
    expected = dict(case.model.named_parameters())
    towers = [("visual.", case.image), ("", case.text)]
    for prefix, tower in towers:
        for name, parameter in tower.named_parameters():
            grad = expected.pop(prefix + name).grad
            torch.testing.assert_close(parameter.grad, grad, atol=1e-5, rtol=1e-4, msg=prefix + name)
    assert list(expected) == ["logit_scale"]


@pytest.mark.parametrize("tower", ["image", "text"])
def test_bfloat16_towers_stay_near_float32(case: Case, tower: str) -> None:
    module, read = (case.image, case.patches) if tower == "image" else (case.text, case.tokens)
    exact, rounded = (module(read, dtype) for dtype in (torch.float32, torch.bfloat16))
    assert rounded.dtype == torch.float32
    assert (exact * rounded).sum(dim=1).min() > 0.999


@pytest.mark.parametrize(
    ("capabilities", "dtype"),
    [
        ({}, torch.float32),
        ({"avx512_f": True, "avx512_bf16": False}, torch.float32),
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
    ],
)
def test_bfloat16_only_where_the_cpu_multiplies_it(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], dtype: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert matrix_product_dtype() == dtype


def test_initial_weights_are_distributed_as_those_of_open_clip(case: Case) -> None:
    fresh = TextTower(len(case.text.token_embedding.weight)), ImageTower()
    weights = case.model.state_dict()
    for prefix, tower in zip(("", "visual."), fresh, strict=True):
        for name, parameter in tower.named_parameters():
            expected = weights[prefix + name]
            assert parameter.mean().item() == pytest.approx(expected.mean().item(), abs=0.05), name
            if parameter.numel() > 1_000:
                assert parameter.std().item() == pytest.approx(expected.std().item(), rel=0.1), name
