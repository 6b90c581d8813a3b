import json
import shutil
import unicodedata
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from foreign_models import MARIAN_POSITIONS, Trap, enter_into_hub_cache, write_marian
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from tiny import sentence_pairs
from transformers import MarianMTModel, MarianTokenizer

from themo.errors import InputError
from themo.files.cache import Cache
from themo.models.marian import Translator, translations

BIN, SAFE = "pytorch_model.bin", "model.safetensors"
SENTENCES = ["the red cat runs", "", "the dog", "a strange 日 word", "the small bird sings", "the old lion"]
NO_SACREMOSES = pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses")


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_marian(tmp_path_factory.mktemp("marian") / "en-es")


@pytest.fixture
def copy(toy: Path, tmp_path: Path) -> Path:
    return shutil.copytree(toy, tmp_path / "copy")


def plainly(folder: Path, texts: list[str]) -> list[str]:
    """One sentence after the other through transformers."""
    tokenizer = MarianTokenizer.from_pretrained(folder)
    model = MarianMTModel.from_pretrained(folder).eval()
    translated = []
    for text in texts:
        inputs = tokenizer(text, truncation=True, max_length=MARIAN_POSITIONS, return_tensors="pt")
        ids = model.generate(**inputs)[0]
        translated.append(tokenizer.decode(ids, skip_special_tokens=True))
    return translated


def refuse_to_load() -> Translator:
    raise AssertionError("nothing was to be computed")


def pickled(folder: Path, **torch_options: bool) -> Path:
    """The same weights as the hub's older repositories have them."""
    torch.save(load_file(folder / SAFE), folder / BIN, **torch_options)
    (folder / SAFE).unlink()
    return folder


@NO_SACREMOSES
@pytest.mark.parametrize("num_beams", [1, 2])
def test_translations_are_those_of_a_plain_computation(tmp_path: Path, num_beams: int) -> None:
    folder = write_marian(tmp_path / "model", num_beams=num_beams)
    assert Translator.load(str(folder)).translate(SENTENCES) == plainly(folder, SENTENCES)


def test_decomposed_sentences_are_translated_as_composed(toy: Path, tmp_path: Path) -> None:
    texts = ["the café", "jalapeños"]
    translator = Translator.load(str(toy))
    expected = translator.translate(texts)
    decomposed = [unicodedata.normalize("NFD", text) for text in texts]
    assert translator.translate(decomposed) == expected
    cache = Cache(tmp_path)
    assert translations(cache, str(toy), texts, "es", lambda: translator) == tuple(expected)
    assert translations(cache, str(toy), decomposed, "es", refuse_to_load) == tuple(expected)


def test_generation_config_is_minded(tmp_path: Path) -> None:
    texts = [en for en, _ in sentence_pairs()[::8]]
    greedy, beams = (
        Translator.load(str(write_marian(tmp_path / str(n), num_beams=n))).translate(texts) for n in (1, 2)
    )
    assert len(set(greedy)) > len(texts) // 2
    assert greedy != beams


def with_codes(folder: Path, *codes: str) -> Path:
    """A model of several target languages, whose codes take the places of pieces in the vocabulary."""
    path = folder / "vocab.json"
    vocabulary = json.loads(path.read_text(encoding="utf-8"))
    pieces = [piece for piece in vocabulary if len(piece) > 1 and piece[0] not in "<▁"]
    for code, piece in zip(codes, pieces, strict=False):
        vocabulary[f">>{code}<<"] = vocabulary.pop(piece)
    path.write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    return folder


@NO_SACREMOSES
@pytest.mark.parametrize(("codes", "code"), [(("fr", "es", "pt"), "es"), (("por", "spa"), "spa")])
def test_a_model_of_several_languages_gets_its_code(copy: Path, codes: tuple[str, ...], code: str) -> None:
    with_codes(copy, *codes)
    translated = Translator.load(str(copy), target="es").translate(SENTENCES)
    assert translated == plainly(copy, [f">>{code}<< {text}" for text in SENTENCES])
    assert translated != plainly(copy, SENTENCES)


@pytest.mark.parametrize("target", ["it", None])
def test_a_model_without_the_language_is_refused(copy: Path, target: str | None) -> None:
    with_codes(copy, "fr", "es", "pt")
    with pytest.raises(InputError) as caught:
        Translator.load(str(copy), target=target)
    assert str(caught.value) == (
        f"translation model {copy}: must translate into {target}, got a model of 3 target languages: "
        "fr, es, pt"
    )


def test_translations_into_other_languages_are_kept_apart(tmp_path: Path, copy: Path) -> None:
    with_codes(copy, "fr", "es", "pt")
    cache = Cache(tmp_path / "cache")
    french, spanish = (
        translations(cache, str(copy), SENTENCES, code, partial(Translator.load, str(copy), "cpu", code))
        for code in ("fr", "es")
    )
    assert french != spanish


def test_order_is_kept_over_several_batches(toy: Path) -> None:
    translator = Translator.load(str(toy))
    texts = [en for en, _ in sentence_pairs()[::5]]
    translated = translator.translate(texts)
    assert len(translated) == len(texts) == 80
    assert translated[:4] == translator.translate(texts[:4])
    assert translated[::-1] == translator.translate(texts[::-1])


def test_no_text(toy: Path) -> None:
    assert Translator.load(str(toy)).translate([]) == []


@NO_SACREMOSES
def test_over_long_texts_are_cut_to_the_positions(toy: Path) -> None:
    texts = ["the red cat runs " * 60, "the dog"]
    assert Translator.load(str(toy)).translate(texts) == plainly(toy, texts)


@pytest.mark.parametrize("zipped", [True, False])
def test_safetensors_and_pickled_weights_translate_alike(toy: Path, copy: Path, zipped: bool) -> None:
    pickled(copy, _use_new_zipfile_serialization=zipped)  # not: as before torch 1.6
    assert Translator.load(str(copy)).translate(SENTENCES) == Translator.load(str(toy)).translate(SENTENCES)


def test_safetensors_come_first(copy: Path) -> None:
    (copy / BIN).write_bytes(b"not read")
    Translator.load(str(copy))


@pytest.mark.parametrize("zipped", [True, False])
def test_weights_with_code_are_refused_and_nothing_runs(copy: Path, tmp_path: Path, zipped: bool) -> None:
    (copy / SAFE).unlink()
    sprung = tmp_path / "sprung"
    torch.save({"final_logits_bias": Trap(sprung)}, copy / BIN, _use_new_zipfile_serialization=zipped)
    with pytest.raises(
        InputError,
        match=r"^translation model .*copy: pytorch_model.bin must contain only named tensors.* is never run$",
    ):
        Translator.load(str(copy))
    assert not sprung.exists()
    torch.load(copy / BIN, weights_only=False)  # the trap is a real one
    assert sprung.exists()


def test_weights_that_lack_a_tensor(copy: Path) -> None:
    weights = load_file(copy / SAFE)
    del weights["model.decoder.layers.0.fc1.weight"]
    save_file(weights, copy / SAFE, metadata={"format": "pt"})
    with pytest.raises(
        InputError, match=r"lack 1 tensors, the first is model\.decoder\.layers\.0\.fc1\.weight$"
    ):
        Translator.load(str(copy))


def test_weights_of_another_shape(copy: Path) -> None:
    weights = load_file(copy / SAFE)
    weights["model.decoder.layers.0.fc1.weight"] = torch.ones(3, 32)
    save_file(weights, copy / SAFE, metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"^translation model .*copy: cannot be loaded: \S") as caught:
        Translator.load(str(copy))
    assert len(str(caught.value).splitlines()) == 1


def test_a_tokenizer_of_another_model(copy: Path) -> None:
    vocabulary = json.loads((copy / "vocab.json").read_text(encoding="utf-8"))
    vocabulary |= {"more": len(vocabulary)}
    (copy / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    with pytest.raises(
        InputError, match=r"the tokenizer's ids must lie within the model's vocabulary of 66, got id 66$"
    ):
        Translator.load(str(copy))


def test_a_model_of_another_kind(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text(encoding="utf-8"))
    (copy / "config.json").write_text(json.dumps(config | {"model_type": "bart"}), encoding="utf-8")
    with pytest.raises(InputError, match=r"copy: cannot be loaded: must be of type marian, got bart$"):
        Translator.load(str(copy))


def remove(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:80])


@pytest.mark.parametrize("damage", [remove, truncate])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("config.json", "cannot be loaded: "),
        ("vocab.json", "has no usable tokenizer: "),
        ("source.spm", "has no usable tokenizer: "),
        ("target.spm", "has no usable tokenizer: "),
        (SAFE, "cannot be loaded: "),
    ],
)
def test_missing_and_damaged_files(
    copy: Path, damage: Callable[[Path], None], name: str, message: str
) -> None:
    damage(copy / name)
    with pytest.raises(InputError, match=rf"^translation model .*copy: {message}\S") as caught:
        Translator.load(str(copy))
    assert len(str(caught.value).splitlines()) == 1


def test_a_name_that_is_not_to_be_had() -> None:
    with pytest.raises(
        InputError,
        match=r"^translation model toy/en-es: is not a folder, and not among the hub's files in \S+; ",
    ) as caught:
        Translator.load("toy/en-es")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("weights", [BIN, SAFE])
def test_a_name_whose_files_were_downloaded(
    toy: Path, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: str
) -> None:
    enter_into_hub_cache(pickled(copy) if weights == BIN else copy, tmp_path / "hub", "toy/en-es")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    assert Translator.load("toy/en-es").translate(SENTENCES) == Translator.load(str(toy)).translate(SENTENCES)


def test_translations_are_computed_once(toy: Path, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    first = translations(cache, str(toy), SENTENCES, "es", lambda: Translator.load(str(toy)))
    assert first == tuple(Translator.load(str(toy)).translate(SENTENCES))
    assert translations(cache, str(toy), SENTENCES, "es", refuse_to_load) == first
    moved = shutil.copytree(toy, tmp_path / "elsewhere")  # known by content, not by place
    assert translations(cache, str(moved), tuple(SENTENCES), "es", refuse_to_load) == first


def test_other_texts_and_models_are_recomputed(toy: Path, copy: Path, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    loaded = []

    def load(folder: Path) -> Translator:
        loaded.append(folder)
        return Translator.load(str(folder))

    first = translations(cache, str(copy), SENTENCES, "es", lambda: load(copy))
    assert translations(cache, str(copy), SENTENCES[::-1], "es", lambda: load(copy)) == first[::-1]
    write_marian(tmp_path / "other", seed=1)
    shutil.copyfile(tmp_path / "other" / SAFE, copy / SAFE)
    assert translations(cache, str(copy), SENTENCES, "es", lambda: load(copy)) != first
    assert len(loaded) == 3
    assert translations(cache, str(toy), SENTENCES, "es", refuse_to_load) == first
    with pytest.raises(AssertionError, match="nothing was to be computed"):
        translations(cache, "toy/en-es", SENTENCES, "es", refuse_to_load)
