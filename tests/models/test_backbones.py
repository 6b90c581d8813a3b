import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from foreign_models import Trap
from safetensors.torch import load_file
from tiny import early_bert
from tokenizers import normalizers
from transformers import AutoConfig, AutoModel, DistilBertConfig

from themo.errors import InputError
from themo.models.backbones import adapted_config, build_model, load_config, load_tokenizer, refuse_length
from themo.models.student import Head, Student
from themo.process.devices import autocast

CASED = ["[MASK]", "[PAD]", "[EOS]", "[UNK]", "[CLS]", "[SEP]", "El", "el", "ni", "##ño", "camión", "a"]


def test_pretrained_weights(tiny_backbone: Path) -> None:
    model = build_model(str(tiny_backbone), weights=True)
    saved = load_file(tiny_backbone / "model.safetensors")
    for name, value in model.state_dict().items():
        assert torch.equal(value, saved[name])
    assert model.state_dict().keys() == {name for name in saved if not name.startswith("pooler.")}


def test_random_weights_come_from_the_seed(tiny_backbone: Path) -> None:
    models = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        models.append(build_model(str(tiny_backbone), weights=False).embeddings.word_embeddings.weight)
    assert torch.equal(models[0], models[1])
    assert not torch.equal(models[0], models[2])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("weights", [True, False])
def test_half_precision_as_published_is_trained_in_float32(
    tiny_backbone: Path, tmp_path: Path, weights: bool, dtype: torch.dtype
) -> None:
    AutoModel.from_pretrained(tiny_backbone, dtype=dtype).save_pretrained(tmp_path)
    assert load_config(str(tmp_path)).dtype == dtype
    model = build_model(str(tmp_path), weights=weights)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert model.config.dtype == torch.float32  # what a saved student's config.json says
    head = Head(12, "mean", last_layer_norm=True, projection_bias=True, max_length=16)
    assert Student(model, head)(torch.tensor([[2, 5, 3]])).shape == (1, 12)


def test_another_size(tiny_backbone: Path, tmp_path: Path) -> None:
    model = build_model(str(tiny_backbone), weights=False, hidden_size=48, hidden_layers=3, dropout=0.25)
    config = model.config
    assert (config.hidden_size, config.num_hidden_layers) == (48, 3)
    assert config.hidden_size // config.num_attention_heads == 16  # as in the folder
    assert config.intermediate_size == 2 * 48
    assert config.hidden_dropout_prob == config.attention_probs_dropout_prob == 0.25
    distil = DistilBertConfig(vocab_size=20, dim=16, n_heads=2, n_layers=1, hidden_dim=32)
    distil.save_pretrained(tmp_path)
    config = build_model(str(tmp_path), weights=False, dropout=0.25).config
    assert config.dropout == config.attention_dropout == 0.25
    with pytest.raises(
        InputError, match=r"student\.hidden_size must be a multiple of the head width 16, got 40"
    ):
        build_model(str(tiny_backbone), weights=False, hidden_size=40)


@pytest.mark.parametrize(
    ("kind", "longest"),
    [
        ("bert", 130),
        ("distilbert", 130),
        ("electra", 130),
        ("roberta", 128),
        ("xlm-roberta", 128),
        ("camembert", 128),
        ("mpnet", 128),
        ("longformer", 128),
    ],
)
def test_the_longest_sentence_of_a_backbone(kind: str, longest: int) -> None:
    """RoBERTa and its kin count positions from the one after the padding's id, here 1."""
    config = AutoConfig.for_model(
        kind,
        vocab_size=20,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=130,
    )
    refuse_length("backbone", config, longest)
    with pytest.raises(
        InputError, match=rf"student\.max_length must be at most the backbone's {longest}, got {longest + 1}"
    ):
        refuse_length("backbone", config, longest + 1)
    model = AutoModel.from_config(config).eval()
    ids = torch.full((1, longest), 7)
    assert model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state.isfinite().all()
    ids = torch.full((1, longest + 1), 7)
    with pytest.raises((IndexError, RuntimeError)):
        model(input_ids=ids, attention_mask=torch.ones_like(ids))


def test_positions_of_a_backbone_that_cannot_be_built(tmp_path: Path) -> None:
    config = {"model_type": "bert", "hidden_size": 16, "num_attention_heads": 3}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(InputError, match=rf"^student\.backbone {tmp_path}: has no usable model: "):
        refuse_length(str(tmp_path), load_config(str(tmp_path)), 8)


@pytest.mark.parametrize(
    ("vocabulary", "pieces"),
    [
        (CASED, ["[CLS]", "El", "ni", "##ño", "camión", "[SEP]"]),
        (
            [p.lower() if p.isalpha() else p for p in CASED if p != "El"],
            ["[CLS]", "el", "ni", "##ño", "camión", "[SEP]"],
        ),
    ],
)
def test_early_bert_keeps_accents_and_its_special_ids(
    tmp_path: Path, vocabulary: list[str], pieces: list[str]
) -> None:
    folder = early_bert(tmp_path / "beto", vocabulary)
    tokenizer = load_tokenizer(str(folder))
    ids = tokenizer("El niño camión")["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids) == pieces
    assert (tokenizer.mask_token_id, tokenizer.pad_token_id, tokenizer.cls_token_id) == (0, 1, 4)
    assert load_config(str(folder)).hidden_size == 16


def test_early_bert_without_accented_vocabulary_strips_them(tmp_path: Path) -> None:
    folder = early_bert(tmp_path / "bert", [*CASED[:6], "nino", "a"])
    tokenizer = load_tokenizer(str(folder))
    assert tokenizer.convert_ids_to_tokens(tokenizer("Niño")["input_ids"])[1:-1] == ["nino"]


TEXT = "El niño camión"
CASINGS = {
    "cased": (CASED, ["El", "ni", "##ño", "camión"]),
    "uncased": ([*CASED[:6], "el", "ni", "##ño", "camión"], ["el", "ni", "##ño", "camión"]),
    "uncased, without accents": ([*CASED[:6], "el", "ni", "##no", "camion"], ["el", "ni", "##no", "camion"]),
}


def typed_bert(folder: Path, vocabulary: list[str], model_type: str) -> Path:
    folder = early_bert(folder, vocabulary)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"model_type": model_type}), encoding="utf-8")
    return folder


@pytest.mark.parametrize("vocabulary", CASINGS)
@pytest.mark.parametrize("model_type", ["bert", "distilbert", "electra", "convbert"])
@pytest.mark.parametrize(
    "stated", [None, {}, {"do_lower_case": True}, {"do_lower_case": False}, {"strip_accents": True}], ids=str
)
def test_the_vocabulary_decides_on_capitals_and_accents(
    tmp_path: Path, vocabulary: str, model_type: str, stated: dict[str, bool] | None
) -> None:
    pieces, expected = CASINGS[vocabulary]
    folder = typed_bert(tmp_path / "bert", pieces, model_type)
    if stated is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(stated), encoding="utf-8")
    tokenizer = load_tokenizer(str(folder))
    ids = tokenizer(TEXT)["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids) == ["[CLS]", *expected, "[SEP]"]
    tokenizer.save_pretrained(folder)  # as a student does
    assert load_tokenizer(str(folder))(TEXT)["input_ids"] == ids


@pytest.mark.parametrize(
    ("stated", "lowercase", "strip_accents"),
    [(None, False, False), ({"do_lower_case": True}, True, False), ({"strip_accents": True}, False, True)],
)
def test_the_tokenizer_config_overrides_the_json_normalizer(
    tmp_path: Path, stated: dict[str, bool] | None, lowercase: bool, strip_accents: bool
) -> None:
    folder = typed_bert(tmp_path / "bert", [*CASED, "camion"], "bert")
    backend = load_tokenizer(str(folder)).backend_tokenizer
    backend.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    backend.save(str(folder / "tokenizer.json"))
    if stated is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(stated), encoding="utf-8")
    normalizer = load_tokenizer(str(folder)).backend_tokenizer.normalizer
    assert (normalizer.lowercase, normalizer.strip_accents) == (lowercase, strip_accents)


def remove(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def truncate(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:100])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove("config.json"), "has no usable"),
        (truncate("config.json"), "has no usable"),
        (remove("model.safetensors"), "has no usable model"),
        (truncate("model.safetensors"), "has no usable model"),
        (truncate("tokenizer.json"), "has no usable tokenizer"),
        (remove("tokenizer.json"), "has no usable tokenizer"),
    ],
)
def test_damaged_folders(
    tmp_path: Path, tiny_backbone: Path, damage: Callable[[Path], object], message: str
) -> None:
    folder = shutil.copytree(tiny_backbone, tmp_path / "backbone")
    damage(folder)

    def load() -> None:
        load_tokenizer(str(folder))
        build_model(str(folder), weights=True)

    with pytest.raises(InputError) as caught:
        load()
    assert str(caught.value).startswith(f"student.backbone {folder}: {message}")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": ["bert"]}, "has no usable configuration: unhashable type: 'list'"),
        (
            {"model_type": "bert", "vocab_size": "x"},
            "has no usable configuration: Validation error for field 'vocab_size': .*expected int, got str",
        ),
        (3, "has no usable configuration: "),
        ({"model_type": "t5"}, "must be a text encoder, got 't5'"),
        ({"model_type": "vit"}, "must be a text encoder, got 'vit'"),
    ],
)
def test_configurations_of_no_text_encoder(tmp_path: Path, config: object, message: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(InputError, match=rf"^student\.backbone {tmp_path}: {message}"):
        load_config(str(tmp_path))


@pytest.mark.parametrize("config", [{"model_type": "distilbert"}, {"model_type": "bert", "hidden_size": 0}])
def test_backbones_of_one_size(tmp_path: Path, config: object) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(InputError, match=rf"^student\.hidden_size must be null for {tmp_path}, .* got 64$"):
        adapted_config(str(tmp_path), hidden_size=64)


def test_an_unknown_name() -> None:
    with pytest.raises(InputError, match=r"^student\.backbone nosuch/model: has no usable configuration: "):
        load_config("nosuch/model")


def test_pickled_weights(tmp_path: Path, tiny_backbone: Path) -> None:
    """Weights like BETO's: tensors are read, code is refused and does not run."""
    folder = shutil.copytree(tiny_backbone, tmp_path / "pickled")
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    expected = build_model(str(tiny_backbone), weights=True).state_dict()
    for name, tensor in build_model(str(folder), weights=True).state_dict().items():
        assert torch.equal(tensor, expected[name])
    torch.save({"trap": Trap(tmp_path / "trapped")}, folder / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"pytorch_model\.bin must contain only named tensors"):
        build_model(str(folder), weights=True)
    assert not (tmp_path / "trapped").exists()


TINY = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 32,
}
ENCODERS: dict[str, dict[str, Any]] = {  # those that transformers computes
    "electra": {"embedding_size": 8},
    "albert": {"embedding_size": 8},
    "convbert": {"embedding_size": 8, "head_ratio": 1},
    "roformer": {"embedding_size": 8},
    "distilbert": {},
    "mpnet": {},
    "modernbert": {},
    "nomic_bert": {},
}


@pytest.mark.parametrize("kind", ENCODERS)
def test_states_are_float32_under_a_cpus_autocast(tmp_path: Path, kind: str) -> None:
    config = AutoConfig.for_model(kind, **TINY, **ENCODERS[kind], pad_token_id=1)
    config.save_pretrained(tmp_path)
    torch.manual_seed(0)
    model = build_model(str(tmp_path), weights=False).eval()
    ids = torch.tensor([[5, 6, 7, 8, 9, 1], [5, 6, 7, 1, 1, 1]])
    inputs = {"input_ids": ids, "attention_mask": ids != 1, "output_hidden_states": True}
    plain = model(**inputs)
    with autocast(torch.device("cpu"), torch.bfloat16):
        states = model(**inputs)
    assert {state.dtype for state in states.hidden_states} == {torch.float32}
    assert states.last_hidden_state.dtype == torch.float32
    assert not torch.equal(states.last_hidden_state, plain.last_hidden_state)
    torch.testing.assert_close(states.last_hidden_state, plain.last_hidden_state, rtol=0.1, atol=0.1)


OWN_CODE: dict[str, tuple[str, dict[str, object], str]] = {
    "configuration": ("config.json", {"AutoConfig": "own.Config"}, "own"),
    "tokenizer": ("tokenizer_config.json", {"AutoTokenizer": [None, "own.Words"]}, "siglip_text_model"),
    "model": ("config.json", {"AutoModel": "own.Model"}, "siglip_text_model"),
}
"""File and classes of own code by what they load, and a type of configuration for which transformers has no
such class."""


@pytest.mark.parametrize("weights", [True, False])
@pytest.mark.parametrize("what", OWN_CODE)
def test_code_of_a_backbone_is_refused_without_a_question(
    tmp_path: Path, tiny_backbone: Path, monkeypatch: pytest.MonkeyPatch, what: str, weights: bool
) -> None:
    """transformers would ask, and `yes | python -m themo` would agree."""
    folder, trace = shutil.copytree(tiny_backbone, tmp_path / "backbone"), tmp_path / "it-was-run"
    file, classes, kind = OWN_CODE[what]
    config = {"model_type": kind, "vocab_size": 8}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    stated = json.loads((folder / file).read_text(encoding="utf-8"))
    stated |= {"auto_map": classes, "tokenizer_class": "OwnTokenizer"}
    (folder / file).write_text(json.dumps(stated), encoding="utf-8")
    (folder / "own.py").write_text(f"open({str(trace)!r}, 'w').close()\n", encoding="utf-8")
    monkeypatch.setattr("builtins.input", lambda *_: "y")

    def load() -> None:
        if what == "tokenizer":
            load_tokenizer(str(folder))
        build_model(str(folder), weights=weights)

    with pytest.raises(InputError) as caught:
        load()
    assert str(caught.value) == (
        f"student.backbone {folder}: has no usable {what}: must be read by classes of transformers, but its "
        "files name own code, which is never run"
    )
    assert not trace.exists()
