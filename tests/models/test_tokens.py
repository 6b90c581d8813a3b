import copy
import json
import shutil
import unicodedata
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, models
from tokenizers import Tokenizer as Backend
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from themo.config.sections import MAX_TOKENS
from themo.errors import InputError
from themo.models.student import Head, Student
from themo.models.token_ids import largest_id
from themo.models.tokens import Tokenizer, cut, uncomposed_tokens


@pytest.fixture(scope="module")
def tokenizer(tiny_backbone: Path) -> Tokenizer:
    return Tokenizer.load(str(tiny_backbone))


def sentences(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    flat, lengths = tokenizer.encode(texts)
    return [part.tolist() for part in np.split(flat, np.cumsum(lengths)[:-1])]


def test_ids_are_those_of_transformers(tokenizer: Tokenizer) -> None:
    texts = ["el niño rojo corre", "Duerme el búho MUY pequeño", "zzz ¿¡!", ""]
    assert sentences(tokenizer, texts) == [tokenizer.inner(text)["input_ids"] for text in texts]


def test_accents_are_kept(tokenizer: Tokenizer) -> None:
    with_accent, without = sentences(tokenizer, ["camión", "camion"])
    assert with_accent != without
    assert tokenizer.inner.unk_token_id not in with_accent


@pytest.fixture
def sparse(tmp_path: Path, tiny_backbone: Path) -> Path:
    """A backbone with 100 ids, whose tokenizer has fewer entries, but one with the id 5000."""
    folder = shutil.copytree(tiny_backbone, tmp_path / "sparse")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": 100}), encoding="utf-8")
    state = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary = state["model"]["vocab"]
    vocabulary[max(vocabulary, key=lambda token: vocabulary[token])] = 5000
    assert len(vocabulary) <= 100
    (folder / "tokenizer.json").write_text(json.dumps(state), encoding="utf-8")
    return folder


def test_an_id_beyond_the_vocabulary_is_refused(sparse: Path) -> None:
    rule = "the tokenizer's ids must lie within the model's vocabulary of 100, got id 5000"
    with pytest.raises(InputError, match=rf"^student\.backbone {sparse}: {rule}$"):
        Tokenizer.load(str(sparse))


@pytest.mark.parametrize(("largest", "dtype"), [(65_534, np.uint16), (65_535, np.int32)])
def test_the_type_of_ids_holds_the_largest(largest: int, dtype: type) -> None:
    vocabulary = {"a": 0, "sol": largest}
    backend = Backend(models.WordLevel(vocabulary))
    tokenizer = Tokenizer(PreTrainedTokenizerFast(tokenizer_object=backend))
    ids, _ = tokenizer.encode(["sol"])
    assert (tokenizer.dtype, ids.tolist()) == (dtype, [largest])


def test_a_unigram_tokenizer_has_its_last_position_as_largest_id() -> None:
    backend = Backend(models.Unigram([("[UNK]", 0.0), ("sol", -1.0), ("mar", -1.0)], unk_id=0))
    backend.add_special_tokens(["[PAD]"])
    assert largest_id(json.loads(backend.to_str())) == 3


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("added", ["ñandú", AddedToken("ñandú", normalized=False)], ids=str)
def test_decomposed_text_is_read_as_composed(tiny_backbone: Path, form: str, added: str | AddedToken) -> None:
    inner = Tokenizer.load(str(tiny_backbone)).inner
    inner.add_tokens([added])
    tokenizer = Tokenizer(inner)
    texts = ["el niño rojo corre", "DUERME EL BÚHO MUY PEQUEÑO", "el ñandú", "ﬁ½"]
    ids = sentences(tokenizer, [unicodedata.normalize(form, text) for text in texts])
    assert ids == [inner(text)["input_ids"] for text in texts]
    assert len(inner) - 1 in ids[2]


@pytest.mark.parametrize("class_name", ["BertTokenizer", "PreTrainedTokenizerFast"])
def test_a_saved_tokenizer_is_loaded_with_its_fingerprint(
    tiny_backbone: Path, tmp_path: Path, class_name: str
) -> None:
    folder = shutil.copytree(tiny_backbone, tmp_path / "backbone")
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"tokenizer_class": class_name}))
    tokenizer = Tokenizer.load(str(folder))
    assert tokenizer.inner(unicodedata.normalize("NFD", "niño")) == tokenizer.inner("niño")
    tokenizer.inner.save_pretrained(folder)
    assert Tokenizer.load(str(folder)).fingerprint == tokenizer.fingerprint


def test_added_tokens_missed_in_decomposed_text(tokenizer: Tokenizer) -> None:
    assert uncomposed_tokens(tokenizer) == []
    inner = copy.deepcopy(tokenizer.inner)
    inner.add_tokens(["jalapeño", AddedToken("ñandú", normalized=False), AddedToken("<x>", normalized=False)])
    assert uncomposed_tokens(Tokenizer(inner)) == ["ñandú"]


def test_layout(tokenizer: Tokenizer) -> None:
    assert (tokenizer.pad_id, tokenizer.suffix) == (0, 1)
    flat, lengths = tokenizer.encode(["el gato", "el"])
    assert flat.dtype == np.uint16
    assert lengths.tolist() == [4, 3]
    flat, lengths = tokenizer.encode([])
    assert (len(flat), len(lengths)) == (0, 0)


def test_very_long_texts_keep_their_end_token(tokenizer: Tokenizer) -> None:
    (ids,) = sentences(tokenizer, ["gato " * 2000])
    assert len(ids) == MAX_TOKENS
    assert ids[-1] == tokenizer.inner.sep_token_id


def test_the_fingerprint_is_of_the_vocabulary(tokenizer: Tokenizer, tiny_backbone: Path) -> None:
    assert Tokenizer.load(str(tiny_backbone)).fingerprint == tokenizer.fingerprint
    other = Tokenizer.load(str(tiny_backbone))
    other.inner.add_tokens(["hola"])
    assert Tokenizer(other.inner).fingerprint != tokenizer.fingerprint


@given(st.lists(st.integers(), max_size=30), st.integers(3, 30), st.integers(0, 2))
def test_cut(ids: list[int], length: int, suffix: int) -> None:
    kept = cut(ids, length, suffix)
    assert len(kept) == min(len(ids), length)
    assert kept[: length - suffix] == ids[: length - suffix]
    if len(ids) >= suffix:
        assert kept[len(kept) - suffix :] == ids[len(ids) - suffix :]


@pytest.mark.parametrize("pooling", ["mean", "first"])
def test_a_text_without_tokens_is_one_unknown_token(
    tiny_backbone: Path, pooling: Literal["mean", "first"]
) -> None:
    """An empty text of a tokenizer without special tokens."""
    inner = Tokenizer.load(str(tiny_backbone)).inner
    backend = Backend.from_str(inner.backend_tokenizer.to_str())
    backend.post_processor = TemplateProcessing(single="$A", special_tokens=[])
    names = {"unk_token": "[UNK]", "pad_token": "[PAD]"}
    plain = PreTrainedTokenizerFast(tokenizer_object=backend, **names)
    tokenizer = Tokenizer(plain)
    assert tokenizer.suffix == 0
    gato, unknown = plain("gato")["input_ids"], [plain.unk_token_id]
    assert sentences(tokenizer, ["gato", "", " \n"]) == [gato, unknown, unknown]
    head = Head(8, pooling, last_layer_norm=False, projection_bias=False, max_length=16)
    student = Student.build(str(tiny_backbone), head, weights=False, projection_init="clip")
    vectors = student.encode(tokenizer, ["gato", ""])
    assert vectors.isfinite().all()
    for i, text in enumerate(["gato", ""]):
        torch.testing.assert_close(student.encode(tokenizer, [text])[0], vectors[i], rtol=1e-5, atol=1e-6)
