import json
import logging
import os
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from torch.nn import functional

from themo.errors import InputError
from themo.fetching.hub import ENDPOINT
from themo.models.teacher import Teacher, fingerprint

TEXTS = ["the red cat runs", "", "the small old boar comes " * 9, "the owl", "a word it does not know"]


@pytest.fixture(scope="module")
def teacher(tiny_teacher: Path) -> Teacher:
    return Teacher.load(str(tiny_teacher))


def open_clips(teacher: Teacher, texts: list[str]) -> torch.Tensor:
    """Embeddings as open_clip itself gives them."""
    with torch.no_grad():
        vectors: torch.Tensor = teacher.model.encode_text(teacher.tokenizer(texts))
    return vectors


def test_embeddings_are_open_clips(teacher: Teacher) -> None:
    vectors = teacher.encode_texts(TEXTS, "embedding")
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(TEXTS), teacher.dimension("embedding")) == (len(TEXTS), 12)
    torch.testing.assert_close(torch.from_numpy(vectors), open_clips(teacher, TEXTS), rtol=1e-4, atol=1e-5)


def test_decomposed_text_is_read_as_composed(teacher: Teacher, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also by a tokenizer that does not compose by itself, as CLIP's does."""
    read: list[str] = []
    tokenizer = teacher.tokenizer
    monkeypatch.setattr(teacher, "tokenizer", lambda texts: (read.extend(texts), tokenizer(texts))[1])
    teacher.encode_texts([unicodedata.normalize("NFD", "a jalapeño"), "a café"])
    assert sorted(read) == ["a café", "a jalapeño"]


def test_trimming_changes_nothing(teacher: Teacher) -> None:
    for target in ("state", "embedding"):
        trimmed, padded = (teacher.encode_texts(TEXTS, target, trim=trim) for trim in (True, False))
        np.testing.assert_allclose(trimmed, padded, rtol=1e-4, atol=1e-5)


def test_states_lead_to_embeddings(teacher: Teacher) -> None:
    states = teacher.encode_texts(TEXTS, "state")
    assert states.shape == (len(TEXTS), teacher.dimension("state")) == (len(TEXTS), 16)
    expected = open_clips(teacher, TEXTS)
    expected /= expected.norm(dim=1, keepdim=True)
    torch.testing.assert_close(
        teacher.to_image_space(torch.from_numpy(states), "state"), expected, rtol=1e-4, atol=1e-4
    )
    embeddings = torch.from_numpy(teacher.encode_texts(TEXTS, "embedding"))
    torch.testing.assert_close(
        teacher.to_image_space(3 * embeddings, "embedding"), expected, rtol=1e-4, atol=1e-4
    )


def test_units_are_embeddings_of_length_one(teacher: Teacher) -> None:
    units = torch.from_numpy(teacher.encode_texts(TEXTS, "unit"))
    embeddings = torch.from_numpy(teacher.encode_texts(TEXTS, "embedding"))
    torch.testing.assert_close(units, functional.normalize(embeddings, dim=1))
    torch.testing.assert_close(teacher.to_image_space(2 * units, "unit"), units)
    assert teacher.dimension("unit") == 12


def test_order_does_not_matter(teacher: Teacher) -> None:
    texts = [f"{text} {i}" for i in range(100) for text in TEXTS[:3]]
    forward, backward = teacher.encode_texts(texts), teacher.encode_texts(texts[::-1])
    np.testing.assert_allclose(forward, backward[::-1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {"no_causal_mask": True},
        {"pool_type": "last"},
        {"embed_cls": True, "pad_id": 0},
        {"proj_bias": True},
    ],
)
def test_other_text_towers_of_open_clip(
    tmp_path: Path, tiny_teacher: Path, changes: dict[str, object]
) -> None:
    """Towers without the short way to the end-of-text state take open_clip's."""
    config = json.loads((tiny_teacher / "open_clip_config.json").read_text(encoding="utf-8"))
    config["model_cfg"]["text_cfg"] |= changes
    config["model_cfg"]["custom_text"] = True
    torch.manual_seed(0)
    model_cfg = {k: v for k, v in config["model_cfg"].items() if k != "custom_text"}
    model = open_clip.model.CustomTextCLIP(**model_cfg)
    shutil.copy(tiny_teacher / "bpe.txt.gz", tmp_path)
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
    torch.save(model.state_dict(), tmp_path / "open_clip_pytorch_model.bin")
    teacher = Teacher.load(str(tmp_path))
    texts = TEXTS[:4]
    vectors = torch.from_numpy(teacher.encode_texts(texts, "embedding"))
    torch.testing.assert_close(vectors, open_clips(teacher, texts), rtol=1e-3, atol=1e-5)


def test_a_teacher_has_no_gradients_and_no_dropout(teacher: Teacher) -> None:
    assert not teacher.model.training
    assert not any(parameter.requires_grad for parameter in teacher.model.parameters())


def test_images(teacher: Teacher, tmp_path: Path) -> None:
    paths = []
    for i, colour in enumerate(["red", "green", "blue"]):
        paths.append(tmp_path / f"{i}.png")
        Image.new("RGB", (40, 30), colour).save(paths[-1])
    vectors = teacher.encode_images(paths)
    assert vectors.shape == (3, 12)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))
    with torch.inference_mode():
        images = torch.stack([teacher.transform(Image.open(path)) for path in paths[::-1]])
        expected = teacher.model.encode_image(images, normalize=True)
    torch.testing.assert_close(vectors.flip(0), expected, rtol=1e-4, atol=1e-5)


def test_a_folder_can_be_moved(tmp_path: Path, teacher: Teacher, tiny_teacher: Path) -> None:
    """Also the cut vocabulary beside it, whose path in the configuration is relative."""
    moved = shutil.copytree(tiny_teacher, tmp_path / "moved")
    for address in (str(moved), f"local-dir:{moved}"):
        copy = Teacher.load(address)
        np.testing.assert_array_equal(copy.encode_texts(TEXTS), teacher.encode_texts(TEXTS))
        assert copy.fingerprint == teacher.fingerprint


def test_the_fingerprint_is_of_names_and_contents(tmp_path: Path, tiny_teacher: Path) -> None:
    folder = shutil.copytree(tiny_teacher, tmp_path / "teacher")
    before = fingerprint(str(folder), None)
    with (folder / "open_clip_model.safetensors").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x01")
    assert fingerprint(str(folder), None) != before
    assert fingerprint("ViT-B-32", "openai") != fingerprint("ViT-B-32", "laion2b_s34b_b79k")
    weights = tmp_path / "weights.pt"
    digests = set()
    for content in ("a", "b"):
        weights.write_text(content, encoding="utf-8")
        digests.add(fingerprint("ViT-B-32", str(weights)))
    assert len(digests) == 2


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no config": (
        lambda f: (f / "open_clip_config.json").unlink(),
        "must be open_clip's description of a model",
    ),
    "truncated config": (
        lambda f: os.truncate(f / "open_clip_config.json", 30),
        "must be open_clip's description",
    ),
    "another config": (
        lambda f: (f / "open_clip_config.json").write_text('{"model_cfg": []}', encoding="utf-8"),
        "must be open_clip's description",
    ),
    "no weights": (lambda f: (f / "open_clip_model.safetensors").unlink(), "cannot be loaded: "),
    "truncated weights": (
        lambda f: os.truncate(f / "open_clip_model.safetensors", 2000),
        "cannot be loaded: ",
    ),
    "no vocabulary": (lambda f: (f / "bpe.txt.gz").unlink(), "cannot be loaded: "),
    "truncated vocabulary": (lambda f: os.truncate(f / "bpe.txt.gz", 60), "cannot be loaded: "),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_teacher(tmp_path: Path, tiny_teacher: Path, damage: str) -> None:
    folder = shutil.copytree(tiny_teacher, tmp_path / "teacher")
    act, message = DAMAGES[damage]
    act(folder)
    with pytest.raises(InputError) as caught:
        Teacher.load(str(folder))
    assert str(folder) in str(caught.value)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("architecture", "pretrained"),
    [
        ("NoSuch-99", None),
        ("ViT-S-32-alt", None),
        ("ViT-S-32-alt", "nosuch_tag"),
        ("hf-hub:nosuch/model", None),
    ],
)
def test_unknown_names(architecture: str, pretrained: str | None) -> None:
    with pytest.raises(InputError) as caught:
        Teacher.load(architecture, pretrained)
    assert str(caught.value).startswith(f"teacher.architecture {architecture}: cannot be loaded: ")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("names", [("ViT-L-14", "datacomp_xl_s13b_b90k"), ("hf-hub:nosuch/model", None)])
def test_a_hub_without_answer_is_named_once(
    caplog: pytest.LogCaptureFixture, names: tuple[str, str | None]
) -> None:
    with pytest.raises(InputError) as caught:
        Teacher.load(*names)
    advice = f"; it comes from {ENDPOINT}: check the network, or give a folder that contains it"
    assert str(caught.value).endswith(advice)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


class Code:
    """Code in a pickle, called as it is read."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return (Path.touch, (self.trace,))


def test_code_in_weights_is_refused_and_never_run(tmp_path: Path, tiny_teacher: Path) -> None:
    folder = shutil.copytree(tiny_teacher, tmp_path / "teacher")
    (folder / "open_clip_model.safetensors").unlink()
    trace = tmp_path / "it-was-run"
    torch.save({"logit_scale": Code(trace)}, folder / "open_clip_pytorch_model.bin")
    with pytest.raises(InputError) as caught:
        Teacher.load(str(folder))
    assert str(caught.value) == (
        f"teacher.architecture {folder}: its weights must contain only named tensors; code in it is never run"
    )
    assert not trace.exists()


@pytest.mark.parametrize("options", [{}, {"trust_remote_code": True}], ids=["asked", "agreed"])
def test_code_of_a_tokenizer_is_refused_without_a_question(
    tmp_path: Path, tiny_teacher: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, bool]
) -> None:
    """transformers would ask, and the teacher's own file could agree."""
    folder, trace = shutil.copytree(tiny_teacher, tmp_path / "teacher"), tmp_path / "it-was-run"
    config = json.loads((folder / "open_clip_config.json").read_text(encoding="utf-8"))
    config["model_cfg"]["text_cfg"] |= {"hf_tokenizer_name": "own", "tokenizer_kwargs": options}
    (folder / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
    stated = {"tokenizer_class": "OwnTokenizer", "auto_map": {"AutoTokenizer": [None, "own.Words"]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(stated), encoding="utf-8")
    (folder / "own.py").write_text(f"open({str(trace)!r}, 'w').close()\n", encoding="utf-8")
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    with pytest.raises(InputError, match=r"^teacher\.architecture .*: cannot be loaded: .* custom code"):
        Teacher.load(str(folder))
    assert not trace.exists()


def test_a_text_tower_of_transformers_is_refused_unread(tmp_path: Path, tiny_teacher: Path) -> None:
    """Its configuration may name code, and open_clip lets transformers ask whether to run it."""
    folder = shutil.copytree(tiny_teacher, tmp_path / "teacher")
    config = json.loads((folder / "open_clip_config.json").read_text(encoding="utf-8"))
    config["model_cfg"]["text_cfg"]["hf_model_name"] = str(tmp_path / "tower")
    (folder / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(InputError, match=r"cannot be loaded: must have a CLIP text transformer with a proj"):
        Teacher.load(str(folder))


def test_the_logs_of_the_host_program_continue(tiny_teacher: Path) -> None:
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.INFO)
    try:
        Teacher.load(str(tiny_teacher))
        assert logging.getLogger().level == logging.INFO
    finally:
        logging.getLogger().setLevel(level)
