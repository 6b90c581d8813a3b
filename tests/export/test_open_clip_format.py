import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from consumers import assert_same, blocks, mixed_sentences, own_vectors, run_alone, run_card, write_beto
from foreign_models import POSITIONS, write_mclip
from PIL import Image
from tiny import write_captioned_images
from torch.nn import functional

from themo.errors import InputError
from themo.evaluation.encoders import examine
from themo.export.exporting import export_version
from themo.export.open_clip_format import CHECKED, COMING, MODEL_TYPES, without_bias
from themo.export.source import Source

HEADS = [
    {"pooling": "mean"},
    {"pooling": "first", "projection_bias": True},
    {"pooling": "mean", "projection_bias": True, "target": "state", "max_length": 7},
    {"pooling": "first", "target": "unit"},
]


def load(folder: Path) -> tuple[Any, Any, Any]:
    model, _, preprocess = open_clip.create_model_and_transforms(
        f"local-dir:{folder}", require_pretrained=True
    )
    return model.eval(), preprocess, open_clip.get_tokenizer(f"local-dir:{folder}")


@pytest.mark.parametrize("head", HEADS, ids=str)
def test_open_clip_gives_our_vectors(
    source: Callable[..., Source], tmp_path: Path, head: dict[str, Any]
) -> None:
    opened = source(**head)
    export = export_version(opened, "open_clip", tmp_path / "export")
    model, preprocess, tokenizer = load(export.folder)
    assert tokenizer.context_length == opened.trained.head.max_length
    assert model.context_length == opened.trained.head.max_length
    assert opened.trained.backbone.config.max_position_embeddings > model.context_length
    sentences = mixed_sentences()
    with torch.inference_mode():
        assert_same(model.encode_text(tokenizer(sentences)), opened, sentences)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8))
    picture.save(tmp_path / "picture.png")
    with torch.inference_mode():
        images = model.encode_image(preprocess(picture)[None], normalize=True)
    torch.testing.assert_close(images, opened.teacher.encode_images([tmp_path / "picture.png"]))
    assert model.logit_scale == opened.teacher.model.logit_scale
    held = any("has no bias" in note for note in export.notes)
    assert held == bool(head.get("projection_bias"))


def test_a_bias_is_held_to_the_last_digits(source: Callable[..., Source]) -> None:
    opened = source(projection_bias=True)
    student, texts = opened.student, mixed_sentences(60)
    with torch.no_grad():
        student.projection.bias.mul_(10)
    before = student.encode(opened.tokenizer, texts)
    equal = without_bias(student)
    assert equal.projection.bias is None
    torch.testing.assert_close(equal.encode(opened.tokenizer, texts), before, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(student.encode(opened.tokenizer, texts), before, rtol=0, atol=0)  # a copy
    with torch.no_grad():
        student.projection.bias.zero_()
    lost = functional.cosine_similarity(student.encode(opened.tokenizer, texts), before)
    assert lost.max() < 0.9  # had it been left out


def test_students_that_open_clip_cannot_hold_are_refused(
    version: Callable[..., Path], tmp_path: Path
) -> None:
    opened = Source.open(version(last_layer_norm=True))
    with pytest.raises(
        InputError,
        match=r"--format open_clip cannot export .*version_0: open_clip's text tower has no layer norm",
    ):
        export_version(opened, "open_clip", tmp_path / "export")
    own = replace(opened, settings=opened.settings.override({"targets": "own.npy"}))
    with pytest.raises(
        InputError, match=r"it was trained on data\.targets own\.npy, which have no image tower"
    ):
        export_version(own, "open_clip", tmp_path / "export")
    opened.trained.head = replace(opened.trained.head, last_layer_norm=False)
    opened.trained.backbone.config.model_type = "modernbert"
    with pytest.raises(
        InputError, match=r"of type modernbert \(supported from open_clip 4\.1\.0\.dev0 on\); sentence"
    ):
        export_version(opened, "open_clip", tmp_path / "export")
    opened.trained.backbone.config.model_type = "electra"
    with pytest.raises(
        InputError,
        match=r"open_clip 3\.3\.0 supports bert, roberta, xlm-roberta, got a backbone of type electra; sent",
    ):
        export_version(opened, "open_clip", tmp_path / "export")
    assert not (tmp_path / "export").exists()


def test_the_types_are_those_of_the_checked_release() -> None:
    from open_clip import hf_configs

    assert open_clip.__version__ == CHECKED
    assert set(MODEL_TYPES) <= set(hf_configs.arch_dict)
    assert not set(COMING) & set(hf_configs.arch_dict)


def test_a_bias_that_a_dead_layer_norm_cannot_hold(source: Callable[..., Source], tmp_path: Path) -> None:
    opened = source(projection_bias=True)
    with torch.no_grad():
        opened.trained.backbone.encoder.layer[-1].output.LayerNorm.weight[3] = 0
    with pytest.raises(InputError, match=r"projection has no bias \(student\.projection_bias\); .* cosine"):
        export_version(opened, "open_clip", tmp_path / "export")
    assert list(tmp_path.glob("*export*")) == []


def write_xlm(root: Path) -> Path:
    """A toy XLM-R with its tokenizer."""
    for path in write_mclip(root).glob("*token*"):
        shutil.copy(path, root / "base")
    return root / "base"


@pytest.mark.parametrize("max_length", [POSITIONS, 5])
def test_an_xlm_roberta(source: Callable[..., Source], tmp_path: Path, max_length: int) -> None:
    """Its positions follow the padding's id, its tokens are not BERT's."""
    backbone = str(write_xlm(tmp_path / "xlm"))
    opened = source(backbone=backbone, projection_bias=True, max_length=max_length)
    export = export_version(opened, "open_clip", tmp_path / "export")
    model, _, tokenizer = load(export.folder)
    table = model.text.transformer.embeddings.position_embeddings
    assert model.context_length == len(table.weight) == max_length + table.padding_idx + 1
    assert any(f"`context_length` is {model.context_length}." in note for note in export.notes)
    sentences = mixed_sentences(300)
    with torch.inference_mode():
        assert_same(model.encode_text(tokenizer(sentences)), opened, sentences)


def test_betos_padding_is_not_id_0(source: Callable[..., Source], tmp_path: Path) -> None:
    """open_clip makes the mask from the padding's id, which BETO's configuration does not tell."""
    opened = source(backbone=str(write_beto(tmp_path / "beto")))
    folder = export_version(opened, "open_clip", tmp_path / "export").folder
    model, _, tokenizer = load(folder)
    sentences = mixed_sentences(300)
    ids = tokenizer(sentences)
    assert ids[0, -1] == 1
    with torch.inference_mode():
        assert_same(model.encode_text(ids), opened, sentences)


def test_a_moved_folder_says_where_it_is(source: Callable[..., Source], tmp_path: Path) -> None:
    opened = source()
    folder = export_version(opened, "open_clip", tmp_path / "export").folder
    moved = Path(shutil.move(folder, tmp_path / "moved"))
    with pytest.raises(OSError, match="export"):
        load(moved)
    config = json.loads((moved / "open_clip_config.json").read_text(encoding="utf-8"))
    config["model_cfg"]["text_cfg"]["hf_model_name"] = str(moved)
    (moved / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
    model, _, tokenizer = load(moved)
    with torch.inference_mode():
        assert_same(model.encode_text(tokenizer(["duerme"])), opened, ["duerme"])


@pytest.mark.slow
def test_the_cards_lines_and_clip_benchmark(source: Callable[..., Source], tmp_path: Path) -> None:
    """The card's Python in a moved folder, then its console lines on test images: our own recall."""
    n = 24
    write_captioned_images(tmp_path, n)
    opened = source(captions=str(tmp_path / "xtd10"), images=str(tmp_path / "mscoco"), projection_bias=True)
    scores = examine(opened.settings, opened.version, task="retrieval").scores
    folder = export_version(opened, "open_clip", tmp_path / "export").folder
    moved = Path(shutil.move(folder, tmp_path / "moved"))
    sentences = mixed_sentences()
    found = torch.from_numpy(run_card(moved, sentences))
    assert_same(found, opened, sentences)

    captions = (tmp_path / "xtd10" / "test_1kcaptions_es.txt").read_text(encoding="utf-8").splitlines()
    names = (tmp_path / "xtd10" / "test_image_names.txt").read_text(encoding="utf-8").split()
    images = [str(tmp_path / "mscoco" / name.split("_")[1] / name) for name in names]
    # CLIP_benchmark's own index of XTD10; without it, it fetches the real one
    (moved / "data").mkdir()
    index = {"image_paths": images, "annotations": captions, "indices": list(range(n))}
    (moved / "data" / "xtd10-es.json").write_text(json.dumps(index), encoding="utf-8")
    (command,) = blocks(moved / "README.md", "console")
    run_alone(["bash", "-c", command], moved)
    result = json.loads((moved / "clip_benchmark.json").read_text(encoding="utf-8"))
    for k in (1, 5, 10):
        expected = scores.share("student", "retrieval", k)
        assert result["metrics"][f"image_retrieval_recall@{k}"] == pytest.approx(expected)
    assert scores.share("student", "retrieval", 1) < scores.share("student", "retrieval", 10) < 1
    assert own_vectors(opened, captions).shape == (n, 12)
