"""The report of a test, written from real scores of small parts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from browser import opened
from tiny import write_captioned_images, write_picture, write_version_of
from torch.nn import functional

from themo.cli.main import main
from themo.config.benchmarks import BenchmarkSettings
from themo.config.miniature import MiniatureRecipe
from themo.config.settings import Settings
from themo.data.imagenet import ImageNet
from themo.data.xtd10 import Xtd10
from themo.errors import InputError
from themo.evaluation.encoders import Examination
from themo.evaluation.report.figures import quality_against_cost
from themo.evaluation.report.page import attribute_shares, value_shares, write_report
from themo.evaluation.scoring import Row, evaluate
from themo.miniature.pictured import Pictured, pictured_scenes
from themo.miniature.scenes import World
from themo.models.images import open_rgb

N_IMAGES, N_CLASSES = 24, 6
MISSED = 3
"""The caption whose image the student has last. Of the classes it takes class 1 for class 0."""


class Encoder:
    """Text i lies on axis i, but for those that are said to lie elsewhere."""

    def __init__(self, texts: Sequence[str], moved: dict[int, Sequence[float]] | None = None) -> None:
        axes = torch.eye(N_IMAGES) + 0.001 * torch.arange(N_IMAGES).flip(0)
        for i, vector in (moved or {}).items():
            axes[i] = torch.tensor(vector)
        self.vectors = {text: axes[i] for i, text in enumerate(texts)}

    def __call__(self, texts: Sequence[str]) -> torch.Tensor:
        return torch.stack([self.vectors[text] for text in texts])


@pytest.fixture
def tested(tmp_path: Path) -> Examination:
    write_captioned_images(tmp_path, N_IMAGES)
    xtd10 = Xtd10.open(tmp_path / "xtd10", tmp_path / "mscoco")
    random = np.random.default_rng(2)
    pictures = tuple(tmp_path / f"{i}.JPEG" for i in range(2 * N_CLASSES))
    for path in pictures:
        write_picture(path, random)
    prompts = {
        code: tuple((f"{what} {i}",) for i in range(N_CLASSES))
        for code, what in (("en", "thing"), ("es", "cosa"))
    }
    classes = tuple(range(N_CLASSES)) * 2
    imagenet = ImageNet(tuple(f"n{i:08}" for i in range(N_CLASSES)), prompts, pictures, classes)
    away = [-1.0 if i == MISSED else 1.0 - 0.01 * i for i in range(N_IMAGES)]

    def images(paths: Sequence[Path]) -> torch.Tensor:
        names = {path: i for i, path in enumerate(xtd10.images)} | {
            path: classes[i] for i, path in enumerate(pictures)
        }
        return torch.eye(N_IMAGES)[[names[path] for path in paths]]

    def row(code: str, moved: dict[int, Sequence[float]], moved_prompts: dict[int, Sequence[float]]) -> Row:
        captions = Encoder(xtd10.captions[code], moved)
        classes_of = Encoder([of_class[0] for of_class in prompts[code]], moved_prompts)
        captions.vectors |= classes_of.vectors
        return Row(captions, code, images)

    at_class_1 = [float(i == 1) for i in range(N_IMAGES)]
    rows = {"student": row("es", {MISSED: away}, {0: at_class_1}), "ceiling": row("en", {}, {})}
    return Examination(
        BenchmarkSettings(), evaluate(rows, xtd10, imagenet), xtd10, imagenet, rows, images, None
    )


def written(tested: Examination, settings: Settings, version: Path) -> str:
    version.mkdir()
    path = write_report(tested, settings, version)
    assert path == version / "report.html"
    return path.read_text(encoding="utf-8").partition("<main>")[2].partition("</main>")[0]


def plain(text: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", text).split())


def articles(text: str) -> list[str]:
    return re.findall(r"<article.*?</article>", text, re.DOTALL)


def test_the_worst_miss_is_shown_beside_the_teachers_answer(
    tested: Examination, tiny_settings: Settings, tmp_path: Path
) -> None:
    text = written(tested, tiny_settings, tmp_path / "version_0")
    assert "1 of 24 captions do not rank their image first." in plain(text)
    worst = articles(text)[-1]
    assert tested.xtd10 is not None
    assert f'<blockquote lang="es">{tested.xtd10.captions["es"][MISSED]}</blockquote>' in worst
    assert f'<blockquote lang="en">{tested.xtd10.captions["en"][MISSED]}</blockquote>' in worst
    assert "The student ranks the right image 24" in plain(worst)
    assert "The teacher ranks the right image first" in plain(worst)
    student, teacher = worst.split('<ol class="five">')[1:]
    marks = re.findall(r"<li( class=\"[^\"]*\")?>", student)
    assert marks == [""] * 5 + [' class="right missing"']
    assert re.findall(r"<li( class=\"[^\"]*\")?>", teacher) == [' class="right"'] + [""] * 4


def test_the_gallery_is_drawn_by_lot_and_again_the_same(
    tested: Examination, tiny_settings: Settings, tmp_path: Path
) -> None:
    first = articles(written(tested, tiny_settings, tmp_path / "version_0"))
    assert len(first) == 8 + 1
    assert all(article.count("<img") in (10, 11) for article in first)
    assert all(article.count('src="data:image/jpeg;base64,') == article.count("<img") for article in first)
    assert articles(written(tested, tiny_settings, tmp_path / "version_1")) == first


def test_confused_classes(tested: Examination, tiny_settings: Settings, tmp_path: Path) -> None:
    text = written(tested, tiny_settings, tmp_path / "version_0")
    table = plain(text.partition("Classes most confused")[2])
    assert tested.scores.share("student", "accuracy", 1) < 1
    assert "cosa 1 thing 1 cosa 0 thing 0 2 0 2" in table


def test_classes_with_equal_prompts_are_named_and_not_confused(
    tested: Examination, tiny_settings: Settings, tmp_path: Path
) -> None:
    assert tested.imagenet is not None
    spanish, english = tested.imagenet.prompts["es"], tested.imagenet.prompts["en"]
    alike = {"es": (spanish[0], spanish[0], *spanish[2:]), "en": (*english[:4], english[5], english[5])}
    imagenet = replace(tested.imagenet, prompts=alike)
    equal = replace(tested, imagenet=imagenet, scores=evaluate(tested.rows, tested.xtd10, imagenet))
    text = plain(written(equal, tiny_settings, tmp_path / "version_0"))
    assert "es cosa 0 n00000000, n00000001 4 en thing 5 n00000004, n00000005 4" in text
    confused = text.partition("examples")[2]  # the two classes are one, with four images
    assert confused.strip() == "cosa 0 thing 0 cosa 5 thing 5 2 0 4"


def test_a_perfect_student_is_described_as_such(
    tested: Examination, tiny_settings: Settings, tmp_path: Path
) -> None:
    ranks = {
        task: {row: torch.zeros_like(r) for row, r in of.items()} for task, of in tested.scores.ranks.items()
    }
    first = {
        task: {row: of[row].index_copy(1, torch.tensor([0]), right[:, None]) for row in of}
        for (task, of), right in zip(
            tested.scores.first.items(),
            (torch.arange(N_IMAGES), torch.arange(N_CLASSES).repeat(2)),
            strict=True,
        )
    }
    perfect = replace(tested, scores=replace(tested.scores, ranks=ranks, first=first))
    text = plain(written(perfect, tiny_settings, tmp_path / "version_0"))
    assert "No misses: every caption ranks its image first." in text
    assert "No confusions: every image ranks its class first." in text


@pytest.mark.parametrize(
    ("kept", "lost"), [("xtd10", "Classes most confused"), ("imagenet", "Retrieved images")]
)
def test_one_task_alone(
    tested: Examination, tiny_settings: Settings, tmp_path: Path, kept: str, lost: str
) -> None:
    task = {"xtd10": "retrieval", "imagenet": "accuracy"}[kept]
    scores = replace(
        tested.scores,
        ranks={task: tested.scores.ranks[task]},
        first={task: tested.scores.first[task]},
    )
    other = {"xtd10": "imagenet", "imagenet": "xtd10"}[kept]
    alone = replace(tested, scores=scores, **{other: None})
    assert lost not in written(alone, tiny_settings, tmp_path / "version_0")


def test_a_damaged_image(tested: Examination, tiny_settings: Settings, tmp_path: Path) -> None:
    assert tested.xtd10 is not None
    for path in tested.xtd10.images:
        path.write_bytes(b"no image")
    (tmp_path / "version_0").mkdir()
    with pytest.raises(InputError, match=r"jpg: must be an image"):
        write_report(tested, tiny_settings, tmp_path / "version_0")
    assert list((tmp_path / "version_0").iterdir()) == []


def test_a_report_that_cannot_be_written(
    tested: Examination, tiny_settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "version_0" / "report.html").mkdir(parents=True)
    with pytest.raises(InputError, match=r"report\.html: cannot be written: Is a directory"):
        write_report(tested, tiny_settings, tmp_path / "version_0")


def test_a_test_without_a_report_leaves_none_of_an_earlier_one(
    tested: Examination, tiny_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = write_version_of(tiny_settings, tmp_path / "version_0", dimension=12)
    monkeypatch.setattr("themo.evaluation.encoders.examine", lambda *_, **__: tested)
    monkeypatch.setattr("themo.tracking.runs.Tracking", MagicMock())
    monkeypatch.setattr("themo.evaluation.test_data.refuse_missing_test_data", lambda *_: None)
    assert main(["test", "--version-path", str(version), "--report"]) == 0
    assert (version / "report.html").exists()
    assert main(["test", "--version-path", str(version)]) == 0
    assert (version / "test.json").exists()
    assert not (version / "report.html").exists()


def test_a_report_needs_a_student(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", "--baseline", "--report"]) == 2
    err = capsys.readouterr().err
    assert err == "Error: test: --report needs a student; with --baseline give --version-path too\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--baseline", "--sizes"], "test: --sizes needs a student; with --baseline give --version-path too"),
        (["--task", "accuracy", "--sizes"], "test: --sizes needs the retrieval test, got --task accuracy"),
    ],
)
def test_sizes_need_a_student_and_retrieval(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["test", *arguments]) == 2
    assert capsys.readouterr().err == f"Error: {message}\n"


def test_quality_is_drawn_against_both_costs() -> None:
    sizes = {
        "student": {"retrieval@01": 0.9, "megabytes": 2.0, "ms_a_text": 5.0},
        "small": {"retrieval@01": 0.8, "megabytes": 0.1, "ms_a_text": 0.1},
    }
    by_size, by_time = quality_against_cost(sizes).data
    assert (list(by_size.x), list(by_time.x)) == ([2.0, 0.1], [5.0, 0.1])
    assert list(by_size.y) == list(by_time.y) == [0.9, 0.8]
    assert list(by_size.text) == ["student", "small"]


# --- by attribute ---


def test_attributes_of_found_images(tested: Examination) -> None:
    """The student finds the scene before the right one, the teacher the right one."""
    recipe = MiniatureRecipe(test_images=N_IMAGES)
    scenes, _ = pictured_scenes(recipe, World(0), "test")
    right = torch.arange(N_IMAGES)
    first = {"student": (right - 1)[:, None] % N_IMAGES, "ceiling": right[:, None]}
    ranks = {"student": torch.ones_like(right), "ceiling": torch.zeros_like(right)}
    scores = replace(tested.scores, ranks={"retrieval": ranks}, first={"retrieval": first})
    found = attribute_shares(scores, scenes)
    assert [share.label for share in found["student"]] == [
        "shape", "colour", "count", "size", "relation", "background",
    ]  # fmt: skip
    assert all(share.hits == share.n for share in found["ceiling"])
    by_hand = int((scenes.background == np.roll(scenes.background, 1)).sum())
    assert (found["student"][-1].hits, found["student"][-1].n) == (by_hand, N_IMAGES)
    assert found["student"][4].n == int((~scenes.single).sum())
    values = value_shares(scores, scenes)
    assert list(values) == ["shape", "colour", "count", "relation"]
    assert sum(share.n for share in values["relation"]["student"]) == N_IMAGES
    assert {share.hits for share in values["shape"]["student"]} == {0}
    assert all(share.hits == share.n > 0 for share in values["colour"]["ceiling"])


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "width"), [("light", 1240), ("dark", 1240), ("dark", 400)])
def test_it_is_drawn_in_a_browser_without_the_network(
    tested: Examination, tiny_settings: Settings, tmp_path: Path, scheme: str, width: int
) -> None:
    scenes, _ = pictured_scenes(MiniatureRecipe(test_images=N_IMAGES), World(0), "test")

    def by_length(texts: Sequence[str]) -> torch.Tensor:
        return functional.one_hot(torch.tensor([len(t) % N_IMAGES for t in texts]), N_IMAGES).float()

    def by_colour(paths: Sequence[Path]) -> torch.Tensor:
        means = torch.from_numpy(np.array([np.asarray(open_rgb(path)).mean(axis=(0, 1)) for path in paths]))
        return functional.pad(means.float(), (0, 21))

    rows = {name: row._replace(encode=by_length) for name, row in tested.rows.items()}
    pictured = Pictured(scenes, World(0), "test")
    told = replace(tested, rows=rows, look=by_colour, pictured=pictured)
    written(told, tiny_settings, tmp_path / "version_0")
    path = tmp_path / "version_0" / "report.html"
    with opened(path, scheme, width) as seen:
        drawn = seen.drawn()
        assert seen.overlaps() == []
        assert seen.clipped() == []
        assert set(drawn) == {"places", "twins", "attributes", "values"}
        assert min(drawn.values()) > 0, drawn
        loaded = "[...document.images].map(image => image.complete && image.naturalWidth)"
        widths = seen.page.evaluate(loaded)
        assert len(widths) > 80
        assert min(widths) > 0
        assert seen.page.evaluate("document.documentElement.scrollWidth") == width
    assert (seen.errors, seen.requests) == ([], [path.as_uri()])
