import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from caption_sets import write_crossmodal, write_xflickrco
from tiny import SettingsFactory, sentence_pairs, write_captioned_images, write_lines, write_tsv

from themo.data.crossmodal3600 import read_crossmodal
from themo.data.dataset import EncodedPairs, TrainingData
from themo.data.preparation import prepare_data
from themo.data.xflickrco import read_xflickrco
from themo.data.xtd10 import read_captions
from themo.errors import InputError
from themo.models.backbones import load_config
from themo.models.bert_files import PlainConfig
from themo.models.teacher import Teacher
from themo.models.tokens import Tokenizer


def spanish(pairs: EncodedPairs, backbone: Path) -> list[str]:
    inner = Tokenizer.load(str(backbone)).inner
    parts = np.split(pairs.ids, pairs.offsets[1:-1])
    return [inner.decode(ids, skip_special_tokens=True) for ids in parts]


def test_pairs_keep_together(settings: SettingsFactory, tiny_teacher: Path, tiny_backbone: Path) -> None:
    """Every Spanish sentence is paired with the teacher's vector of its own translation."""
    data = prepare_data(settings(target="state"))
    english = {es: en for en, es in sentence_pairs()}
    teacher = Teacher.load(str(tiny_teacher))
    for part in (data.train, data.validation):
        sentences = spanish(part, tiny_backbone)
        expected = teacher.encode_texts([english[es] for es in sentences], "state")
        np.testing.assert_allclose(part.targets.rows(part.rows), expected, rtol=1e-2, atol=1e-2)
        by_english: dict[str, set[int]] = {}
        for es, i in zip(sentences, part.english_ids.tolist(), strict=True):
            by_english.setdefault(english[es], set()).add(i)
        assert all(len(ids) == 1 for ids in by_english.values())
        assert len(set.union(*by_english.values())) == len(by_english)
    assert len(data.train) + len(data.validation) == len(sentence_pairs())
    assert data.dimension == 16
    assert data.backbone == str(tiny_backbone)
    assert isinstance(load_config(data.backbone_files), PlainConfig)


def test_each_english_sentence_has_one_vector(tiny_data: TrainingData) -> None:
    for part in (tiny_data.train, tiny_data.validation):
        assert len(part.targets) == len(np.unique(part.english_ids)) < len(part)
        assert part.targets.dtype == np.float16


def test_the_second_time_nothing_is_computed(settings: SettingsFactory) -> None:
    first = prepare_data(settings())
    entries = {p: p.stat().st_mtime_ns for p in Path(settings().paths.cache_dir).rglob("*.npy")}
    second = prepare_data(settings(batch_size=3, learn_rate=1.0, max_length=20))
    assert (second.train.folder, second.train.vectors) == (first.train.folder, first.train.vectors)
    assert {p: p.stat().st_mtime_ns for p in Path(settings().paths.cache_dir).rglob("*.npy")} == entries


def test_prepared_data_are_found_without_torch(settings: SettingsFactory, tiny_config: Path) -> None:
    prepare_data(settings())
    script = """
import sys
from pathlib import Path
from themo.config.settings import load
from themo.data.preparation import prepare_data
from themo.training.preconditions import refuse_unfit
settings = load(Path(sys.argv[1]))
refuse_unfit(settings, prepare_data(settings))
print("torch" in sys.modules)
"""
    words = [sys.executable, "-c", script, str(tiny_config)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_decomposed_texts_are_prepared_like_composed_ones(settings: SettingsFactory, tmp_path: Path) -> None:
    write_captioned_images(tmp_path, 6)
    files = [write_tsv(tmp_path / "own.tsv", sentence_pairs()[:-80]), *(tmp_path / "xtd10").glob("*_es.txt")]
    files.append(write_tsv(tmp_path / "held.tsv", sentence_pairs()[-80:]))
    leaves: dict[str, Any] = {
        "corpus": [str(files[0])],
        "validation": str(files[-1]),
        "validation_captions": str(tmp_path / "xtd10"),
        "validation_images": str(tmp_path / "mscoco"),
    }
    composed = prepare_data(settings(**leaves))
    for path in files:
        path.write_text(unicodedata.normalize("NFD", path.read_text(encoding="utf-8")), encoding="utf-8")
    decomposed = prepare_data(settings(**leaves))
    assert composed.images is not None
    assert decomposed.images is not None
    for one, other in (
        (composed.train, decomposed.train),
        (composed.validation, decomposed.validation),
        (composed.images.captions, decomposed.images.captions),
    ):
        for name in ("ids", "offsets", "english_ids", "rows"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert one.vectors == other.vectors  # the same entry of the cache


def test_a_copied_teacher_and_corpus_are_the_same(
    settings: SettingsFactory, tmp_path: Path, tiny_teacher: Path, tiny_corpus: Path
) -> None:
    """Entries are found by content, not by where it lies."""
    first = prepare_data(settings())
    shutil.copytree(tiny_teacher, tmp_path / "teacher")
    shutil.copy(tiny_corpus, tmp_path / "moved.tsv")
    copies: dict[str, Any] = {
        "architecture": str(tmp_path / "teacher"),
        "corpus": [str(tmp_path / "moved.tsv")],
    }
    second = prepare_data(settings(**copies))
    assert (second.train.folder, second.train.vectors) == (first.train.folder, first.train.vectors)
    assert (second.corpus, second.targets) == (first.corpus, first.targets)
    state = prepare_data(settings(target="state"))
    assert (state.corpus, state.targets == first.targets) == (first.corpus, False)


def test_own_targets_belong_to_their_rows(
    settings: SettingsFactory, tmp_path: Path, tiny_backbone: Path
) -> None:
    content = [
        ("", "nada"),
        *sentence_pairs(),
        sentence_pairs()[0],
    ]  # an empty and a repeated pair are dropped
    corpus = write_tsv(tmp_path / "own.tsv", content)
    vectors = np.random.default_rng(0).normal(size=(len(content), 5)).astype(np.float32)
    np.save(tmp_path / "own.npy", vectors)
    data = prepare_data(settings(corpus=[str(corpus)], targets=str(tmp_path / "own.npy")))
    row_of = {es: row for row, (_, es) in reversed(list(enumerate(content)))}
    for part in (data.train, data.validation):
        rows = [row_of[es] for es in spanish(part, tiny_backbone)]
        np.testing.assert_array_equal(part.targets.rows(part.rows), vectors[rows])
    assert data.dimension == 5
    assert len(data.train) + len(data.validation) == len(content) - 2


def test_own_targets_after_a_teachers_have_their_own_rows(settings: SettingsFactory, tmp_path: Path) -> None:
    """Rows of own targets are those of the corpus; a teacher's are those of different English sentences."""
    of_teacher = prepare_data(settings())
    np.save(tmp_path / "own.npy", np.ones((len(sentence_pairs()), 5), dtype=np.float32))
    own = prepare_data(settings(targets=str(tmp_path / "own.npy")))
    assert own.corpus == of_teacher.corpus
    rows = [*own.train.rows.tolist(), *own.validation.rows.tolist()]
    assert sorted(rows) == list(range(len(sentence_pairs())))


def test_equal_captions_of_other_images_have_their_own_rows(
    settings: SettingsFactory, tmp_path: Path
) -> None:
    write_captioned_images(tmp_path, 6)
    places = {"validation_captions": str(tmp_path / "xtd10"), "validation_images": str(tmp_path / "mscoco")}
    names = (tmp_path / "xtd10" / "test_image_names.txt").read_text(encoding="utf-8").split()
    for changed, rows in ((names, [0, 1, 2, 3, 4, 5]), ([*names[:5], names[0]], [0, 1, 2, 3, 4, 0])):
        write_lines(tmp_path / "xtd10" / "test_image_names.txt", changed)
        images = prepare_data(settings(**places)).images
        assert images is not None
        assert images.captions.rows.tolist() == rows


def test_own_targets_are_known_by_their_content(settings: SettingsFactory, tmp_path: Path) -> None:
    corpus = write_tsv(tmp_path / "own.tsv", sentence_pairs())
    vectors = np.random.default_rng(0).normal(size=(len(sentence_pairs()), 5)).astype(np.float32)
    keys = []
    for name, values in (("a.npy", vectors), ("b.npy", vectors), ("a.npy", -vectors)):
        np.save(tmp_path / name, values)
        keys.append(prepare_data(settings(corpus=[str(corpus)], targets=str(tmp_path / name))).targets)
    assert keys[0] == keys[1] != keys[2]


def test_own_targets_do_not_wait_for_the_miniature(settings: SettingsFactory, tmp_path: Path) -> None:
    """Whose test captions the preset names: it would be built for nothing."""
    np.save(tmp_path / "own.npy", np.random.default_rng(0).normal(size=(400, 5)).astype(np.float32))
    tests = {"captions": "miniature:test/xtd10", "images": "miniature:test/mscoco"}
    prepare_data(settings(targets=str(tmp_path / "own.npy"), **tests))
    assert not list(Path(settings().paths.cache_dir).glob("*miniature*"))


def test_a_validation_file_and_bounds(settings: SettingsFactory, tmp_path: Path) -> None:
    pairs = sentence_pairs()
    train, held = write_tsv(tmp_path / "a.tsv", pairs[:300]), write_tsv(tmp_path / "b.tsv", pairs[300:])
    leaves: dict[str, Any] = {"corpus": [str(train)], "validation": str(held), "validation_pairs": 40}
    data = prepare_data(settings(**leaves, max_pairs=70))
    assert (len(data.train), len(data.validation)) == (70, 40)
    data = prepare_data(settings(**leaves | {"validation_pairs": 1000}))
    assert (len(data.train), len(data.validation)) == (300, len(pairs) - 300)


def test_dropped_pairs_are_reported(
    settings: SettingsFactory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = [*sentence_pairs(), ("a", " "), ("b", ""), sentence_pairs()[0]]
    prepare_data(settings(corpus=[str(write_tsv(tmp_path / "own.tsv", content))]))
    assert "own.tsv: 400 of 403 pairs kept; dropped: 2 empty, 1 duplicate" in capsys.readouterr().err
    prepare_data(settings(corpus=[str(write_tsv(tmp_path / "same.tsv", content))]))
    assert "same.tsv: 400 of 403 pairs kept" in capsys.readouterr().err, "equal content, another name"


def test_data_travel_as_paths(tiny_data: TrainingData) -> None:
    assert len(tiny_data.train.ids) > 0  # mapped now
    state = tiny_data.train.__getstate__()
    assert set(state) == {"folder", "vectors"}
    copy = EncodedPairs(**state)
    np.testing.assert_array_equal(copy.ids, tiny_data.train.ids)
    assert copy.layout == tiny_data.train.layout
    assert not copy.ids.flags.writeable


def bad_corpus(tmp_path: Path) -> dict[str, Any]:
    return {"corpus": [str(write_tsv(tmp_path / "own.tsv", [("a", ""), ("", "b")]))]}


def short_targets(tmp_path: Path) -> dict[str, Any]:
    np.save(tmp_path / "own.npy", np.ones((399, 4), dtype=np.float32))
    return {"targets": str(tmp_path / "own.npy")}


def empty_corpus_with_validation(tmp_path: Path) -> dict[str, Any]:
    held = write_tsv(tmp_path / "held.tsv", sentence_pairs()[:40])
    return bad_corpus(tmp_path) | {"validation": str(held)}


def empty_validation(tmp_path: Path) -> dict[str, Any]:
    return {"validation": str(write_tsv(tmp_path / "held.tsv", [("a", ""), ("", "b")]))}


def one_vector(tmp_path: Path) -> dict[str, Any]:
    return {
        "validation": str(write_tsv(tmp_path / "held.tsv", [("the cat runs", "x"), ("the cat runs", "y")]))
    }


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda _: {"corpus": ["nosuch.tsv"]}, "data.corpus: no such file or folder: nosuch.tsv"),
        (lambda _: {"targets": "nosuch.npy"}, "data.targets: no such file or folder: nosuch.npy"),
        (lambda _: {"validation": "nosuch.tsv"}, "data.validation: no such file or folder: nosuch.tsv"),
        (lambda _: {"columns": ["en", "fr"]}, "--columns must name two columns"),
        (bad_corpus, "data.corpus: must contain at least one usable pair, but all were dropped ("),
        (
            empty_corpus_with_validation,
            "data.corpus: must contain at least one usable pair, but all were dropped (",
        ),
        (empty_validation, "data.validation: must contain at least one usable pair, but all were dropped ("),
        (short_targets, "must have a row for each of the corpus's 400 rows, got 399"),
        (lambda _: {"validation_pairs": 201}, "must be at most half of the 400 pairs, got 201"),
        (lambda _: {"backbone": "nosuch/model"}, "student.backbone nosuch/model: is not a folder, and "),
        (lambda _: {"architecture": "NoSuch-99"}, "teacher.architecture NoSuch-99: cannot be loaded: "),
    ],
)
def test_refusals(settings: SettingsFactory, tmp_path: Path, write: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        prepare_data(settings(**write(tmp_path)))
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_validation_does_not_depend_on_the_order_of_rows(
    settings: SettingsFactory, tmp_path: Path, tiny_backbone: Path
) -> None:
    held = []
    for name, content in (("a.tsv", sentence_pairs()), ("b.tsv", sentence_pairs()[::-1])):
        data = prepare_data(settings(corpus=[str(write_tsv(tmp_path / name, content))]))
        held.append(sorted(spanish(data.validation, tiny_backbone)))
    assert held[0] == held[1]


def test_captions_of_the_tests_are_kept_out(
    settings: SettingsFactory, tmp_path: Path, capsys: pytest.CaptureFixture[str], tiny_backbone: Path
) -> None:
    write_captioned_images(tmp_path, 12)
    tests = {"captions": str(tmp_path / "xtd10"), "images": str(tmp_path / "mscoco")}
    data = prepare_data(settings(**tests))
    captions = read_captions(tmp_path / "xtd10", "es")
    trained = {*spanish(data.train, tiny_backbone), *spanish(data.validation, tiny_backbone)}
    assert not trained & set(captions["es"])
    assert "in the tests" in capsys.readouterr().err
    (tmp_path / "xtd10").rename(tmp_path / "away")
    assert len(prepare_data(settings(**tests)).train) > len(data.train)
    assert "Training pairs are not compared with the captions of the tests" in capsys.readouterr().err


@pytest.mark.parametrize("write", [write_crossmodal, write_xflickrco])
def test_captions_of_the_other_sets_are_kept_out(
    settings: SettingsFactory,
    tmp_path: Path,
    tiny_backbone: Path,
    write: Callable[[Path, int], dict[str, str]],
) -> None:
    """Also without their images, in which case the set is not tested."""
    named = write(tmp_path, 12)
    (name,) = (name for name in named if name.endswith("_captions"))
    data = prepare_data(settings(**{name: named[name]}))
    trained = {*spanish(data.train, tiny_backbone), *spanish(data.validation, tiny_backbone)}
    read = read_crossmodal if write is write_crossmodal else read_xflickrco
    captions = {text for texts in read(Path(named[name]), "es")["es"].values() for text in texts}
    assert captions < {es for _, es in sentence_pairs()}
    assert not trained & captions


def test_pairs_of_mscoco_images_of_xflickrco_are_dropped(settings: SettingsFactory, tmp_path: Path) -> None:
    named = write_xflickrco(tmp_path, 12)
    rows = [f"{en}\t{es}\t{1000 + i}" for i, (en, es) in enumerate(sentence_pairs()[-100:])]
    corpus = write_lines(tmp_path / "own.tsv", ["en\tes\timage", *rows])
    own = {"corpus": [str(corpus)], "validation_pairs": 10, "image_column": "image"}
    free = prepare_data(settings(**own))
    kept = prepare_data(settings(**own, xflickrco_captions=named["xflickrco_captions"]))
    # images 1006 to 1011 are MSCOCO's; no caption of the set is among the last 100 sentences
    assert len(free.train) + len(free.validation) - len(kept.train) - len(kept.validation) == 6


def test_weights_of_corpora(settings: SettingsFactory, tmp_path: Path) -> None:
    pairs = sentence_pairs()
    paths = [
        str(write_tsv(tmp_path / name, part))
        for name, part in (("a.tsv", pairs[:300]), ("b.tsv", pairs[300:]))
    ]
    data = prepare_data(settings(corpus=[f"0.5*{paths[0]}", f"2*{paths[1]}"]))
    (n_first, first), (n_second, second) = data.parts
    assert (first, second) == (0.5, 2.0)
    assert n_first + n_second == len(data.train)
    assert data.pairs_an_epoch == round(0.5 * n_first) + 2 * n_second
