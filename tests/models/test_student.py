import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModel, AutoTokenizer

from themo.errors import InputError
from themo.models.student import Head, Student, load_student, pool, save_student
from themo.models.tokens import Tokenizer

TEXTS = ["el niño rojo corre", "duerme", "canta el búho muy pequeño", "", "el gato azul corre " * 9]


def build(backbone: Path, seed: int = 0, **changes: Any) -> Student:
    options: dict[str, Any] = {"weights": False, "projection_init": "clip"}
    head: dict[str, Any] = {
        "dimension": 12,
        "pooling": "mean",
        "last_layer_norm": False,
        "projection_bias": False,
        "max_length": 16,
    }
    for name, value in changes.items():
        (head if name in head else options)[name] = value
    torch.manual_seed(seed)
    return Student.build(str(backbone), Head(**head), **options)


def save(student: Student, folder: Path, backbone: Path) -> Path:
    tokenizer = Tokenizer.load(str(backbone))
    save_student(folder, student.state_dict(), student.head, student.backbone.config, tokenizer)
    return folder


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.sampled_from(["mean", "first"]))
def test_pool_ignores_padding(lengths: list[int], pooling: Any) -> None:
    width = max(lengths)
    states = torch.randn(len(lengths), width, 3, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[j < n for j in range(width)] for n in lengths])
    pooled = pool(states, mask, pooling)
    for row, state, n in zip(pooled, states, lengths, strict=True):
        torch.testing.assert_close(row, state[:n].mean(dim=0) if pooling == "mean" else state[0])
    if mask.all():
        torch.testing.assert_close(pool(states, None, pooling), pooled)


def test_encode_does_not_depend_on_company_or_mode(tiny_backbone: Path) -> None:
    student, tokenizer = build(tiny_backbone, dropout=0.5), Tokenizer.load(str(tiny_backbone))
    together = student.train().encode(tokenizer, TEXTS)
    assert student.training
    assert together.shape == (len(TEXTS), 12)
    assert together.dtype == torch.float32
    alone = torch.cat([student.encode(tokenizer, [text]) for text in TEXTS])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)
    assert student.encode(tokenizer, []).shape == (0, 12)


@pytest.mark.parametrize("training", [True, False])
def test_an_interrupted_encode_restores_the_mode(tiny_backbone: Path, training: bool) -> None:
    student, tokenizer = build(tiny_backbone).train(training), Tokenizer.load(str(tiny_backbone))

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        student.encode(tokenizer, TEXTS, advance=interrupt)
    assert {module.training for module in student.modules()} == {training}


def test_encode_cuts_to_max_length(tiny_backbone: Path) -> None:
    tokenizer = Tokenizer.load(str(tiny_backbone))
    student = build(tiny_backbone, max_length=5)
    vectors = student.encode(tokenizer, ["el gato azul", "el gato azul corre", "el gato azul viene viene"])
    torch.testing.assert_close(vectors[0], vectors[1])  # three words, and the end token is kept
    torch.testing.assert_close(vectors[0], vectors[2])


def test_projection_init(tiny_backbone: Path) -> None:
    clip = build(tiny_backbone, dimension=4000).projection.weight
    assert clip.std().item() == pytest.approx(32**-0.5, rel=0.02)
    xavier = build(tiny_backbone, dimension=4000, projection_init="xavier", projection_bias=True).projection
    assert xavier.weight.abs().max().item() == pytest.approx((6 / (32 + 4000)) ** 0.5, rel=0.01)
    assert (xavier.bias == 0).all()


def test_equal_seeds_give_equal_weights(tiny_backbone: Path) -> None:
    first, second, third = (build(tiny_backbone, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["projection.weight"], third["projection.weight"])


def test_too_long_for_the_backbone(tiny_backbone: Path) -> None:
    with pytest.raises(InputError, match=r"student\.max_length must be at most the backbone's 48, got 49"):
        build(tiny_backbone, max_length=49)


@pytest.mark.parametrize("pooling", ["mean", "first"])
@pytest.mark.parametrize("extras", [False, True])
def test_save_and_load(tmp_path: Path, tiny_backbone: Path, pooling: str, extras: bool) -> None:
    student = build(
        tiny_backbone,
        pooling=pooling,
        last_layer_norm=extras,
        projection_bias=extras,
        hidden_size=48 if extras else None,
        hidden_layers=2 if extras else None,
        dropout=0.3,
    )
    loaded, tokenizer = load_student(save(student, tmp_path / "student", tiny_backbone))
    assert not loaded.training
    assert loaded.head == student.head
    config: Any = loaded.backbone.config
    assert config.hidden_dropout_prob == 0.3
    assert torch.equal(
        loaded.encode(tokenizer, TEXTS), student.encode(Tokenizer.load(str(tiny_backbone)), TEXTS)
    )


def test_a_saved_student_is_a_transformers_folder(tmp_path: Path, tiny_backbone: Path) -> None:
    """Its vectors need no Themo: mean of the states, times the projection."""
    student = build(tiny_backbone)
    folder = save(student, tmp_path / "student", tiny_backbone)
    inner, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    batch = inner(TEXTS[:3], padding=True, return_tensors="pt")
    with torch.inference_mode():
        states = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
        mask = batch["attention_mask"][..., None]
        vectors = (states * mask).sum(dim=1) / mask.sum(dim=1) @ student.projection.weight.T
    torch.testing.assert_close(vectors, student.encode(Tokenizer.load(str(tiny_backbone)), TEXTS[:3]))


def edit_head(**changes: object) -> Callable[[Path], object]:
    def edit(folder: Path) -> None:
        head = json.loads((folder / "head.json").read_text(encoding="utf-8"))
        (folder / "head.json").write_text(json.dumps(head | changes), encoding="utf-8")

    return edit


DAMAGES: dict[str, Callable[[Path], object]] = {
    "no head.json": lambda folder: (folder / "head.json").unlink(),
    "no weights": lambda folder: (folder / "model.safetensors").unlink(),
    "no projection": lambda folder: (folder / "head.safetensors").unlink(),
    "no config": lambda folder: (folder / "config.json").unlink(),
    "truncated weights": lambda folder: os.truncate(folder / "model.safetensors", 1000),
    "truncated projection": lambda folder: os.truncate(folder / "head.safetensors", 4),
    "truncated head.json": lambda folder: os.truncate(folder / "head.json", 9),
    "truncated config": lambda folder: os.truncate(folder / "config.json", 9),
    "truncated tokenizer": lambda folder: os.truncate(folder / "tokenizer.json", 99),
    "another dimension": edit_head(dimension=13),
    "an unknown key": edit_head(colour="red"),
    "another student's weights": lambda folder: shutil.copy(
        folder / "head.safetensors", folder / "model.safetensors"
    ),
    "not there": shutil.rmtree,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_student(tmp_path: Path, tiny_backbone: Path, damage: str) -> None:
    folder = save(build(tiny_backbone), tmp_path / "student", tiny_backbone)
    DAMAGES[damage](folder)
    with pytest.raises(InputError) as caught:
        load_student(folder)
    assert str(folder) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_encoding_in_bfloat16_stays_near_float32(
    tiny_backbone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    student, tokenizer = build(tiny_backbone).eval(), Tokenizer.load(str(tiny_backbone))
    weights = student.weights_for_encoding()
    assert weights is not None
    assert {tensor.dtype for layer in weights for tensor in layer.mixed} == {torch.bfloat16}
    exact, rounded = (student.encode(tokenizer, TEXTS, 2, weights=given) for given in (None, weights))
    assert not torch.equal(exact, rounded)
    assert torch.cosine_similarity(exact, rounded).min() >= 0.9999


def test_encoding_stays_in_float32_without_bfloat16_units(
    tiny_backbone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_f": True}, raising=False)
    assert build(tiny_backbone).weights_for_encoding() is None
