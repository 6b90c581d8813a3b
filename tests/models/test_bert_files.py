"""BERT's files read without transformers, beside transformers."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import sentence_pairs
from transformers import AutoConfig, AutoTokenizer, BertModel, RobertaConfig

from themo.files.cache import Cache
from themo.models.backbones import build_model, load_config, load_tokenizer
from themo.models.bert_files import PlainConfig, plain_config, plain_tokenizer, write_config
from themo.models.other_encoders import config_of_transformers
from themo.models.plain_backbone import plain_backbone
from themo.models.tokens import Tokenizer

SPECIALS = ["[MASK]", "[PAD]", "[EOS]", "[UNK]", "[CLS]", "[SEP]"]
LETTERS = [*"abcdefghijklmnopqrstuvwxyzñáéíóúü0123456789¿?¡!.,"]
PIECES = [*LETTERS, *(f"##{letter}" for letter in LETTERS), "el", "la", "niño", "##ción", "camión", "中"]
VOCABULARIES = {
    "uncased": [*SPECIALS, *PIECES],
    "cased": [*SPECIALS, *PIECES, "A", "El", "Ñ", "##Ñ"],
    "without accents": [*SPECIALS, *(p for p in PIECES if p.isascii()), "nino"],
}
"""As BETO's: special tokens at other ids than transformers' own."""

TEXTS = st.lists(
    st.one_of(
        st.text(max_size=30),
        st.text("aeiounAEIOUNñáÑÁ\u0301\u0303 ¿?¡!.,'-09中ß\u200b\t\n", max_size=40),
        st.sampled_from([es for _, es in sentence_pairs()]),
        st.sampled_from(["[CLS] el [MASK]", "##ción", "¿Qué?  ¡NIÑO!", "camio\u0301n", "x" * 300, "[unk]"]),
    ),
    min_size=1,
    max_size=6,
)


@pytest.fixture(scope="module")
def backbones(tmp_path_factory: pytest.TempPathFactory, tiny_backbone: Path) -> dict[str, Path]:
    """Backbones by name: one with ``tokenizer.json``, others as BETO came, of a vocabulary alone."""
    folders = {"whole": tiny_backbone}
    for name, vocabulary in VOCABULARIES.items():
        folder = folders[name] = tmp_path_factory.mktemp("bert")
        config = {"vocab_size": len(vocabulary), "hidden_size": 16, "num_attention_heads": 2}
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    return folders


@pytest.fixture(scope="module")
def pairs(
    tmp_path_factory: pytest.TempPathFactory, backbones: dict[str, Path]
) -> dict[str, tuple[Tokenizer, Tokenizer]]:
    """The plain tokenizer, and that of the backbone by transformers."""
    cache, tokenizers = Cache(tmp_path_factory.mktemp("cache")), {}
    for name, backbone in backbones.items():
        folder = plain_backbone(cache, str(backbone))
        assert folder != str(backbone)
        tokenizers[name] = Tokenizer.load(folder), Tokenizer(load_tokenizer(str(backbone)))
    return tokenizers


@settings(deadline=None, max_examples=60)
@given(texts=TEXTS)
@pytest.mark.parametrize("name", ["whole", *VOCABULARIES])
def test_ids_equal_those_of_transformers(
    pairs: dict[str, tuple[Tokenizer, Tokenizer]], name: str, texts: list[str]
) -> None:
    plain, whole = pairs[name]
    flat, lengths = plain.encode(texts)
    expected = whole.inner(texts)["input_ids"]
    assert flat.tolist() == [i for ids in expected for i in ids]
    assert lengths.tolist() == [len(ids) for ids in expected]
    assert plain.knows(texts) == whole.knows(texts)


@pytest.mark.parametrize("name", ["whole", *VOCABULARIES])
def test_facts_and_files_equal_those_of_transformers(
    pairs: dict[str, tuple[Tokenizer, Tokenizer]], tmp_path: Path, name: str
) -> None:
    plain, whole = pairs[name]
    assert plain.fingerprint == whole.fingerprint
    assert (plain.pad_id, plain.unknown_id, plain.suffix, plain.dtype) == (
        whole.pad_id,
        whole.unknown_id,
        whole.suffix,
        whole.dtype,
    )
    written = []
    for number, tokenizer in enumerate((plain, whole)):
        folder = tmp_path / str(number)
        folder.mkdir()
        tokenizer.save(folder)
        written.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert written[0] == written[1]
    assert plain.inner.get_vocab() == whole.inner.get_vocab()


def test_a_plain_configuration_equals_that_of_transformers(
    backbones: dict[str, Path], tmp_path: Path
) -> None:
    for name, backbone in backbones.items():
        folder = plain_backbone(Cache(tmp_path / name), str(backbone))
        plain, own = load_config(folder), load_config(str(backbone))
        assert isinstance(plain, PlainConfig)
        assert not isinstance(own, PlainConfig)
        write_config(own, tmp_path / "own.json")
        assert (tmp_path / "own.json").read_bytes() == (Path(folder) / "config.json").read_bytes()
        again = config_of_transformers(plain)
        assert again.to_dict() == own.to_dict()
        assert again.to_diff_dict() == own.to_diff_dict()


def test_students_of_plain_files_are_those_of_the_backbone(tiny_backbone: Path, tmp_path: Path) -> None:
    models = []
    for folder in (str(tiny_backbone), plain_backbone(Cache(tmp_path / "cache"), str(tiny_backbone))):
        torch.manual_seed(0)
        model = build_model(folder, weights=False, hidden_size=48, hidden_layers=2, dropout=0.1)
        write_config(model.config, tmp_path / "config.json")
        models.append((model.state_dict(), (tmp_path / "config.json").read_bytes()))
    assert models[0][1] == models[1][1]
    assert models[0][0].keys() == models[1][0].keys()
    assert all(torch.equal(weight, models[1][0][name]) for name, weight in models[0][0].items())


def test_weights_are_read_with_a_plain_configuration(tiny_backbone: Path, tmp_path: Path) -> None:
    """As those of a student's folder, which is a backbone too."""
    folder = Path(plain_backbone(Cache(tmp_path), str(tiny_backbone)))
    shutil.copy(tiny_backbone / "model.safetensors", folder)
    model, expected = (build_model(str(one), weights=True) for one in (folder, tiny_backbone))
    assert all(torch.equal(w, expected.state_dict()[name]) for name, w in model.state_dict().items())


def change(name: str, **values: object) -> Callable[[Path], object]:
    def write(folder: Path) -> None:
        content = json.loads((folder / name).read_text(encoding="utf-8")) | values
        (folder / name).write_text(json.dumps(content), encoding="utf-8")

    return write


@pytest.mark.parametrize(
    "edit",
    [
        change("tokenizer_config.json", tokenizer_class="RobertaTokenizer"),
        change("tokenizer_config.json", do_lower_case=False),
        change("tokenizer_config.json", strip_accents=True),
        change("tokenizer_config.json", pad_token="[OTHER]"),  # noqa: S106
        change("tokenizer.json", normalizer=None),
        change("tokenizer.json", model={"type": "WordPiece"}),
        change("config.json", model_type="roberta"),
        change("config.json", vocab_size="many"),
        lambda folder: (folder / "special_tokens_map.json").write_text("{}"),
        lambda folder: (folder / "tokenizer.json").write_text("{"),
        lambda folder: (folder / "tokenizer_config.json").unlink(),
    ],
)
def test_other_tokenizers_are_left_to_transformers(
    tiny_backbone: Path, tmp_path: Path, edit: Callable[[Path], object]
) -> None:
    folder = Path(plain_backbone(Cache(tmp_path), str(tiny_backbone)))
    assert plain_tokenizer(folder) is not None
    edit(folder)
    assert plain_tokenizer(folder) is None


@pytest.mark.parametrize(
    "edit",
    [change("config.json", vocab_size="many"), change("config.json", model_type="electra")],
)
def test_other_configurations_are_left_to_transformers(
    tiny_backbone: Path, tmp_path: Path, edit: Callable[[Path], object]
) -> None:
    assert plain_config(tiny_backbone) is None  # it leaves values to transformers' defaults
    folder = Path(plain_backbone(Cache(tmp_path), str(tiny_backbone)))
    assert plain_config(folder) is not None
    edit(folder)
    assert plain_config(folder) is None


def test_a_backbone_that_is_not_bert_stays_its_own(tiny_backbone: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_backbone, tmp_path / "roberta")
    (folder / "config.json").unlink()
    RobertaConfig(vocab_size=200, hidden_size=16, num_attention_heads=2).save_pretrained(folder)
    assert plain_backbone(Cache(tmp_path / "cache"), str(folder)) == str(folder)


def test_a_changed_backbone_is_read_again(tiny_backbone: Path, tmp_path: Path) -> None:
    backbone, cache = shutil.copytree(tiny_backbone, tmp_path / "backbone"), Cache(tmp_path / "cache")
    before = plain_backbone(cache, str(backbone))
    assert plain_backbone(cache, str(backbone)) == before
    change("config.json", initializer_range=0.5)(backbone)
    assert load_config(plain_backbone(cache, str(backbone))).initializer_range == 0.5


def test_plain_files_load_in_transformers(tiny_backbone: Path, tmp_path: Path) -> None:
    folder = plain_backbone(Cache(tmp_path), str(tiny_backbone))
    config = AutoConfig.from_pretrained(folder)
    assert BertModel(config).config.hidden_size == 32
    assert AutoTokenizer.from_pretrained(folder).pad_token == "[PAD]"  # noqa: S105
