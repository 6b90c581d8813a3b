import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from consumers import assert_same, files, mixed_sentences, run_card
from foreign_models import POSITIONS, write_mclip
from tiny import write_lines

from themo.data.preparation import prepare_data
from themo.errors import InputError
from themo.evaluation.matching import MatchAt1
from themo.export import onnx_format, onnx_graph
from themo.export.exporting import export_version
from themo.export.onnx_format import encode
from themo.export.quality import Sentences, compare
from themo.export.source import Source

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


def test_a_graph_of_any_batch_and_length(source: Callable[..., Source], tmp_path: Path) -> None:
    """With all that a head can have; the card's lines, moved and without Themo."""
    opened = source(target="state", last_layer_norm=True, projection_bias=True)
    export = export_version(opened, "onnx", tmp_path / "export")
    moved = Path(shutil.move(export.folder, tmp_path / "moved"))
    assert files(moved) == ["README.md", "model.onnx", "tokenizer.json", "tokenizer_config.json"]
    graph = onnx.load(moved / "model.onnx")
    onnx.checker.check_model(graph, full_check=True)
    assert b"site-packages" not in (moved / "model.onnx").read_bytes()
    session = onnxruntime.InferenceSession(str(moved / "model.onnx"))
    assert [(i.name, i.shape) for i in session.get_inputs()] == [
        ("input_ids", ["batch", "length"]),
        ("attention_mask", ["batch", "length"]),
    ]
    sentences = mixed_sentences()
    assert_same(run_card(moved, sentences), opened, sentences)
    one_by_one = [
        encode(moved / "model.onnx", Sentences.of_texts([text], opened)) for text in ["duerme", "el gato", ""]
    ]
    assert_same(torch.cat(one_by_one), opened, ["duerme", "el gato", ""])


def test_an_xlm_roberta(source: Callable[..., Source], tmp_path: Path) -> None:
    """Its positions are counted from the ids."""
    base = tmp_path / "xlm" / "base"
    for path in write_mclip(base.parent).glob("*token*"):
        shutil.copy(path, base)
    opened = source(backbone=str(base), max_length=POSITIONS)
    folder = export_version(opened, "onnx", tmp_path / "export").folder
    sentences = mixed_sentences(300)
    assert_same(encode(folder / "model.onnx", Sentences.of_texts(sentences, opened)), opened, sentences)


def test_int8_loss_is_measured_on_validation_pairs(source: Callable[..., Source], tmp_path: Path) -> None:
    opened = source(pooling="first", target="state")
    export = export_version(opened, "onnx", tmp_path / "export", int8=True)
    written = json.loads((export.folder / "int8.json").read_text(encoding="utf-8"))
    assert written["n"] == 60
    assert written["sentences"] == "the version's 60 validation pairs"
    # measured once more, the plain way
    pairs = prepare_data(opened.settings).validation
    ids, bounds = pairs.ids, pairs.offsets
    vectors = {}
    for name in ("model.onnx", "model_int8.onnx"):
        session = onnxruntime.InferenceSession(str(export.folder / name))
        rows = []
        for i in range(60):
            sentence = np.array(ids[bounds[i] : bounds[i + 1]], dtype=np.int64)[None]
            (row,) = session.run(None, {"input_ids": sentence, "attention_mask": np.ones_like(sentence)})
            rows.append(torch.from_numpy(row))
        vectors[name] = torch.cat(rows)
    plain, small = vectors.values()
    cosine = torch.nn.functional.cosine_similarity(plain, small)
    assert cosine.min() < 0.99999  # it does lose something
    # padding changes what a tensor's greatest value is, and so its 8 bits
    assert written["cosine_mean"] == pytest.approx(cosine.mean().item(), abs=2e-3)
    targets = opened.teacher.to_image_space(
        torch.from_numpy(pairs.targets.rows(np.asarray(pairs.rows))).float(), "state"
    )
    match_at_1 = MatchAt1(targets, torch.from_numpy(np.array(pairs.english_ids)))
    assert written["match@01_float32"] == pytest.approx(match_at_1(plain))
    assert written["match@01_int8"] == pytest.approx(match_at_1(small), abs=0.06)
    batched = encode(export.folder / "model_int8.onnx", Sentences.of_validation(opened), in_order=True)
    apart = torch.nn.functional.cosine_similarity(small.double(), batched.double())
    assert written["batch_cosine_least"] == pytest.approx(apart.min().item(), abs=1e-9)
    assert written["batch_cosine_least"] < 1 - 1e-6
    card = (export.folder / "README.md").read_text(encoding="utf-8")
    assert f"{written['cosine_mean']:.5f} on average" in card
    assert f"by up to {1 - written['batch_cosine_least']:.1e} of cosine on these sentences" in card
    assert export.int8 is not None
    assert export.int8.cosine_least == written["cosine_least"]


def test_the_effect_of_batches_is_that_of_the_given_order(
    source: Callable[..., Source], tmp_path: Path
) -> None:
    """The card's lines encode in the given order: a long sentence pads the short ones beside it."""
    opened = source()
    lines = ["duerme", "el gato rojo corre y canta el búho muy viejo"] * 64
    texts = write_lines(tmp_path / "frases.txt", lines)
    folder = export_version(opened, "onnx", tmp_path / "export", int8=True, sentences=texts).folder
    small, sentences = folder / "model_int8.onnx", Sentences.of_texts(lines, opened)
    alone = encode(small, sentences, batch=1).double()
    together = encode(small, sentences, batch=64, in_order=True).double()
    written = json.loads((folder / "int8.json").read_text(encoding="utf-8"))["batch_cosine_least"]
    cosines = torch.nn.functional.cosine_similarity(alone, together)
    assert written == pytest.approx(cosines.min().item(), abs=1e-9)


def test_int8_on_given_sentences(source: Callable[..., Source], tmp_path: Path) -> None:
    opened = source()
    texts = write_lines(tmp_path / "frases.txt", ["duerme", "", "el gato rojo corre"])
    export = export_version(opened, "onnx", tmp_path / "export", int8=True, sentences=texts)
    assert export.int8 is not None
    assert export.int8.match is None
    assert "Measured on 2 sentences of frases.txt: cosine" in export.notes[-1]


def test_a_graph_that_is_not_the_student(
    source: Callable[..., Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The export checks a graph before it writes the folder."""
    opened = source()
    write_graph = onnx_format.write_graph

    def write_another(path: Path, student: torch.nn.Module) -> None:
        with torch.no_grad():
            student.projection.weight[0] += 1
        write_graph(path, student)
        with torch.no_grad():
            student.projection.weight[0] -= 1

    monkeypatch.setattr(onnx_format, "write_graph", write_another)
    with pytest.raises(RuntimeError, match=r"model\.onnx: vectors differ from the student's, least cosine 0"):
        export_version(opened, "onnx", tmp_path / "export")
    assert not (tmp_path / "export").exists()


def test_unreadable_sentences_are_refused(version: Callable[..., Path], tmp_path: Path) -> None:
    folder = version()
    opened = Source.open(folder)
    for name, content, message in (
        ("nosuch.txt", None, r"--sentences .*nosuch\.txt: cannot be read: No such file or directory"),
        ("empty.txt", b"\n \n", r"--sentences .*empty\.txt: must contain one sentence per line, got none"),
        (
            "wide.txt",
            "gato\n".encode("utf-16-le"),
            r"--sentences .*wide\.txt: must be UTF-8, got 0x00 at byte 1$",
        ),
        ("latin.txt", b"ni\xf1o\n", r"--sentences .*latin\.txt: must be UTF-8, got 0xf1 at byte 2$"),
    ):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=message):
            export_version(opened, "onnx", tmp_path / "export", int8=True, sentences=tmp_path / name)
    moved = Source.open(folder, {"corpus": [str(tmp_path / "gone.tsv")]})
    with pytest.raises(InputError, match=r"--int8 measures .*, or on --sentences FILE: .*gone\.tsv"):
        export_version(moved, "onnx", tmp_path / "export", int8=True)


def test_compare_by_hand() -> None:
    vectors = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    others = torch.tensor([[1.0, 0.0], [3.0, 3.0]])
    alone = torch.tensor([[1.0, 1e-2]])
    quality = compare(vectors, others, alone, Sentences("", [], 0))
    assert quality.cosine_mean == pytest.approx((1 + 0.5**0.5) / 2)
    assert quality.cosine_least == pytest.approx(0.5**0.5)
    assert quality.batch_cosine_least == pytest.approx(1 - 5e-5, abs=1e-8)
    said = quality.in_words("two")
    assert "A vector depends on the other sentences of its batch, by up to 5.0e-05 of cosine" in said
    assert said.startswith("Measured on two: cosine to the 32-bit vectors 0.85355 on average")


def test_too_large_for_a_file(
    source: Callable[..., Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = source()
    monkeypatch.setattr(onnx_graph, "MOST_BYTES", 10_000)
    with pytest.raises(
        InputError, match=r"mlflow cannot export .*_0: a graph has at most 0\.0 GB of weights"
    ):
        export_version(opened, "mlflow", tmp_path / "export")


def test_without_its_packages(
    source: Callable[..., Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_graph, "PACKAGES", ("onnx", "nosuchpackage"))
    opened = source()
    for name in ("onnx", "mlflow"):
        message = rf"^--format {name} needs the extra `export` \(missing: nosuchpackage\): \.venv/bin/uv pip "
        with pytest.raises(InputError, match=message):
            export_version(opened, name, tmp_path / "export")
