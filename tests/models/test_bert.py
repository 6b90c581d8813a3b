from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    BertConfig,
    BertModel,
    CamembertConfig,
    CamembertModel,
    DistilBertConfig,
    ElectraConfig,
    RobertaConfig,
    RobertaModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from themo.models.bert import BertEncoder
from themo.models.bert_files import is_bert

SIZES: dict[str, Any] = {
    "vocab_size": 40,
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "max_position_embeddings": 120,
    "pad_token_id": 1,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.3,
}
KINDS = {
    BertModel: BertConfig,
    RobertaModel: RobertaConfig,
    XLMRobertaModel: XLMRobertaConfig,
    CamembertModel: CamembertConfig,
}


def build(kind: Any = BertModel, **changes: Any) -> BertEncoder:
    torch.manual_seed(0)
    return BertEncoder(KINDS[kind](**SIZES | changes))


def by_transformers(model: BertEncoder) -> Any:
    """The same encoder as a class of transformers, in float64: in float32 it rounds more than ours does."""
    (kind,) = (kind for kind in KINDS if kind.__name__ == model.architecture)
    other = kind(model.config, add_pooling_layer=False)
    other.load_state_dict(model.state_dict())
    return other.double()


def batch(lengths: list[int], seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(lengths)
    ids = torch.randint(5, 40, (len(lengths), width), generator=torch.Generator().manual_seed(seed))
    mask = torch.tensor([[j < n for j in range(width)] for n in lengths])
    return ids.masked_fill(~mask, 1), mask


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from(list(KINDS)),
    st.one_of(
        st.lists(st.integers(1, 12), min_size=1, max_size=5),
        st.lists(st.integers(60, 70), min_size=1, max_size=2),
    ),
    st.sampled_from(["gelu", "relu", "gelu_new"]),
    st.integers(0, 99),
)
def test_states_and_gradients_equal_those_of_transformers(
    kind: Any, lengths: list[int], activation: str, seed: int
) -> None:
    model = build(kind, hidden_act=activation)
    ids, mask = batch(lengths, seed)
    read = None if bool(mask.all()) else mask
    weights = torch.randn(24, generator=torch.Generator().manual_seed(seed))
    results = []
    for encoder in (by_transformers(model), by_transformers(model).float(), model):
        states = encoder(ids, read)
        if encoder is not model:
            states = states.last_hidden_state
        (states[mask] @ weights.to(states.dtype)).square().mean().backward()
        gradients = {n: p.grad.float() for n, p in encoder.named_parameters() if p.grad is not None}
        results.append((states[mask].detach().float(), gradients))
    (exact, exact_gradients), (_, plain_gradients), (fast_states, fast_gradients) = results
    torch.testing.assert_close(fast_states, exact, rtol=1e-5, atol=1e-5)
    assert exact_gradients.keys() == fast_gradients.keys()
    for name, gradient in exact_gradients.items():
        scale = max(1.0, float(gradient.abs().max()))
        # rounding may carry an input over the kink of relu, as it does in transformers' float32
        rounding = float((plain_gradients[name] - gradient).abs().max()) / scale
        close = {"rtol": 1e-4, "atol": 2e-5 + rounding}
        torch.testing.assert_close(fast_gradients[name] / scale, gradient / scale, **close)


def test_autocast_keeps_states_and_gradients_in_float32() -> None:
    model = build()
    ids, mask = batch([3, 9])
    with torch.autocast("cpu", torch.bfloat16):
        states = model(ids, mask)
    states[mask].square().mean().backward()
    assert states.dtype == torch.float32
    assert {p.grad.dtype for p in model.parameters() if p.grad is not None} == {torch.float32}
    close = torch.cosine_similarity(states[mask], model(ids, mask)[mask], dim=-1)
    assert not torch.equal(states, model(ids, mask))
    assert close.min() > 0.999


def test_converted_weights_give_the_states_of_autocast() -> None:
    model = build().eval()
    ids, mask = batch([3, 9])
    with torch.autocast("cpu", torch.bfloat16):
        expected = model(ids, mask)
    got = model(ids, mask, model.weights(torch.bfloat16))
    torch.testing.assert_close(got, expected, rtol=0, atol=0)


@pytest.mark.parametrize("length", [5, 70])
def test_dropout_falls_in_training_alone(length: int) -> None:
    ids, _ = batch([length] * 2)
    for option in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
        model = build(**{option: 0.3}).train()
        assert not torch.equal(model(ids, None), model(ids, None))
        model.eval()
        assert torch.equal(model(ids, None), model(ids, None))


def test_others_are_left_to_transformers() -> None:
    small = {"vocab_size": 40, "hidden_size": 24, "num_attention_heads": 3, "intermediate_size": 40}
    others = [
        DistilBertConfig(vocab_size=40, dim=24, n_heads=3, n_layers=1, hidden_dim=40),
        ElectraConfig(**small, embedding_size=24, num_hidden_layers=1),
        BertConfig(**small, is_decoder=True),
        BertConfig(**small, hidden_act="mish"),
    ]
    assert all(is_bert(kind(**small)) for kind in KINDS.values())
    assert not any(is_bert(config) for config in others)


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_gives_the_weights_of_transformers(kind: Any) -> None:
    """Also those that are drawn afterwards, as the head's."""
    config = KINDS[kind](**SIZES)
    torch.manual_seed(7)
    other, next_other = kind(config).state_dict(), torch.rand(3)
    torch.manual_seed(7)
    own, next_own = BertEncoder(config).state_dict(), torch.rand(3)
    assert list(own) == [name for name in other if not name.startswith("pooler")]
    assert all(torch.equal(own[name], other[name]) for name in own)
    assert torch.equal(next_own, next_other)


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of num_attention_heads, got 25 and 3"):
        BertEncoder(BertConfig(**SIZES | {"hidden_size": 25}))
