"""Sets of captions scored in both directions, by hand and from a version to its table, report and card."""

import json
from pathlib import Path

import pytest
import torch
from caption_sets import write_crossmodal, write_json_lines, write_xflickrco
from rich.console import Console
from tiny import SettingsFactory, write_captioned_images

from themo.cli.main import main
from themo.config.settings import Settings
from themo.data.caption_sets import CaptionSet
from themo.data.dataset import TrainingData
from themo.errors import InputError
from themo.evaluation.both_directions import SetScores, score_set
from themo.evaluation.encoders import examine
from themo.evaluation.intervals import wilson_interval
from themo.evaluation.report.page import write_report
from themo.evaluation.report.tables import lay_out
from themo.evaluation.score_names import logged_scores
from themo.evaluation.scores import Scores
from themo.export.card_sets import lines_of_sets, results_of_sets
from themo.training.loop import train

N_IMAGES = 12


def by_hand() -> SetScores:
    """Two images along x and y; image 0 has two Spanish captions, the other and English have one each."""
    captions = CaptionSet(
        "toy",
        "Toy",
        (Path("x.jpg"), Path("y.jpg")),
        {"es": ("a", "b", "c"), "en": ("a", "c")},
        {"es": (0, 0, 1), "en": (0, 1)},
    )
    texts = {
        "student": torch.tensor([[0.1, 1.0], [1.0, 0.3], [1.0, 0.5]]),
        "ceiling": torch.eye(2),
        "floor": torch.ones(3, 2),
    }
    languages = {"student": "es", "ceiling": "en", "floor": "es"}
    return score_set(captions, languages, texts, dict.fromkeys(texts, torch.eye(2)))


def test_shares_and_mean_recalls_by_hand() -> None:
    rows = by_hand().to_dict()["rows"]
    # captions 0 and 2 are nearer to the wrong image
    assert rows["student"]["text_to_image@01"] == pytest.approx(1 / 3)
    assert rows["student"]["text_to_image@05"] == 1
    assert rows["student"]["text_to_image_mean_recall"] == pytest.approx((1 / 3 + 1 + 1) / 3)
    assert rows["student"]["image_to_text@01"] == 0.5  # image 0 by its second caption
    assert rows["student"]["first_captions_mean_recall"] == pytest.approx(2 / 3)  # captions 0 and 2 alone
    assert (rows["student"]["captions"], rows["ceiling"]["captions"]) == (3, 2)
    assert rows["ceiling"]["image_to_text_mean_recall"] == 1
    assert rows["floor"]["text_to_image@01"] == 0  # ties


def test_intervals_are_wilsons_and_differences_are_paired() -> None:
    scores = by_hand().to_dict()
    assert scores["ci95"]["student"]["text_to_image@01"] == list(wilson_interval(1, 3))
    assert set(scores["differences"]) == {"floor"}  # the ceiling reads other captions
    assert scores["differences"]["floor"]["text_to_image@01"][0] == pytest.approx(1 / 3)


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_tables_fit_their_terminal(columns: int) -> None:
    ranks = {name: torch.arange(1000) % 13 for name in ("student", "ceiling", "teacher_es", "translated")}
    titled = SetScores("Crossmodal-3600", 3600, by_hand().rows)
    scores = Scores({"retrieval": ranks, "accuracy": ranks}, sets={"xm3600": titled})
    console = Console(width=columns, record=True)
    with console.capture() as shown:
        console.print(scores.to_tables())
    lines = shown.get().splitlines()
    assert max(map(len, lines)) <= columns
    assert "…" not in shown.get()
    # every bound of an interval is whole
    assert sum(line.count("–") for line in lines) == 3 * (2 * 4 + 2 * 3)


def test_report_and_card_show_both_directions() -> None:
    scores = {"n": {}, "ci95": {}, "test_sets": {"toy": by_hand().to_dict()}}
    to_image, to_text = lay_out(scores)
    assert (to_image.name, to_image.queries) == ("Toy: text to image", "3 captions (es), 2 captions (en)")
    assert (to_text.name, to_text.queries) == ("Toy: image to text", "2 images")
    assert to_image.rows[0][1] == "student, Spanish; mean recall 0.778"
    lines = list(lines_of_sets(scores, {"student": "this model"}))
    assert lines[0].startswith("| **Text to image retrieval, Toy**, 3 captions (es), 2 captions (en) |")
    assert lines[1].startswith("| this model, mean recall 0.778 | 0.333 (")
    first, second = results_of_sets(scores)
    assert first["dataset"] == {"type": "toy-es", "name": "Toy, es"}
    assert second["task"] == {"type": "image-to-text-retrieval", "name": "Image to text retrieval"}
    assert [metric["type"] for metric in first["metrics"]][-1] == "mean_recall"


@pytest.fixture
def sets(tmp_path: Path) -> dict[str, str]:
    write_captioned_images(tmp_path, N_IMAGES)
    own = {"captions": str(tmp_path / "xtd10"), "images": str(tmp_path / "mscoco")}
    return own | write_crossmodal(tmp_path, N_IMAGES) | write_xflickrco(tmp_path, N_IMAGES)


def version_of(config: Settings, data: TrainingData, folder: Path) -> Path:
    train(config, data, report=lambda last: last.save(folder))
    return folder


def test_a_version_is_scored_on_all_sets(
    settings: SettingsFactory, sets: dict[str, str], tiny_data: TrainingData, tmp_path: Path
) -> None:
    config = settings(**sets)
    scores = examine(config, version_of(config, tiny_data, tmp_path / "version_0"), baseline=True).scores
    printed = json.loads(json.dumps(scores.to_dict(), allow_nan=False))
    assert set(printed["test_sets"]) == {"xtd10", "xm3600", "xflickrco"}
    for row in ("student", "ceiling", "teacher_es"):
        xtd10 = printed["test_sets"]["xtd10"]["rows"][row]
        assert [xtd10[f"text_to_image@{k}"] for k in ("01", "05", "10")] == [
            printed[row][f"retrieval@{k}"] for k in ("01", "05", "10")
        ]
    crossmodal = printed["test_sets"]["xm3600"]
    assert crossmodal["images"] == N_IMAGES
    assert crossmodal["rows"]["student"]["captions"] == 2 * N_IMAGES
    assert crossmodal["rows"]["ceiling"]["captions"] == N_IMAGES
    metrics = logged_scores(printed)
    assert metrics["test/xm3600/image_to_text@05"] == crossmodal["rows"]["student"]["image_to_text@05"]
    assert "test/ceiling/xflickrco/text_to_image_mean_recall" in metrics


def test_one_of_the_sets_alone_is_a_test(
    settings: SettingsFactory, sets: dict[str, str], tiny_data: TrainingData, tmp_path: Path
) -> None:
    alone = {name: place for name, place in sets.items() if name.startswith("xflickrco")}
    config = settings(**alone)
    version = version_of(config, tiny_data, tmp_path / "version_0")
    scores = examine(config, version).scores
    assert scores.rows == ("student", "ceiling")
    assert set(scores.to_dict()) == {"student", "ceiling", "n", "ci95", "test_sets"}
    with pytest.raises(InputError, match=r"must name test data for --task accuracy, got none"):
        examine(config, version, task="accuracy")


def test_a_report_shows_a_set_without_the_other_tests(
    settings: SettingsFactory, sets: dict[str, str], tiny_data: TrainingData, tmp_path: Path
) -> None:
    config = settings(**{name: place for name, place in sets.items() if name.startswith("xm3600")})
    version = version_of(config, tiny_data, tmp_path / "version_0")
    page = write_report(examine(config, version), config, version).read_text(encoding="utf-8")
    shown = " ".join(page.partition(">Scores</h2>")[2].split())
    assert "Crossmodal-3600: text to image</th>" in shown
    assert "24 captions (es), 12 captions (en)" in shown
    assert "Crossmodal-3600: image to text</th>" in shown
    assert "student, Spanish; mean recall 0." in shown or "student, Spanish; mean recall 1." in shown


def test_a_set_without_images_is_named_not_tested(
    settings: SettingsFactory,
    sets: dict[str, str],
    tiny_data: TrainingData,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = settings(**(sets | {"xm3600_images": None}))
    scores = examine(config, version_of(config, tiny_data, tmp_path / "version_0")).scores
    assert set(scores.sets) == {"xtd10", "xflickrco"}
    assert "Not tested on Crossmodal-3600: benchmarks.xm3600_images is null" in capsys.readouterr().err


def test_the_command_refuses_bad_files_with_exit_code_2(
    settings: SettingsFactory,
    sets: dict[str, str],
    tiny_data: TrainingData,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    version = version_of(settings(**sets), tiny_data, tmp_path / "version_0")
    test = ["test", "--version-path", str(version), "--logs-dir", str(tmp_path / "logs")]
    picture = next((tmp_path / "xm3600" / "images").glob("*.jpg"))
    picture.unlink()
    assert main(test) == 2
    printed = capsys.readouterr().err.splitlines()
    expected = f"Error: {tmp_path}/xm3600/images: 1 of {N_IMAGES} images are missing: {picture.name}"
    assert printed[-1] == expected
    no_spanish = [{"image/key": "a", "it": {"caption": ["un gatto"]}}]
    write_json_lines(tmp_path / "xm3600" / "captions.jsonl", no_spanish)
    assert main(test) == 2
    printed = capsys.readouterr().err.splitlines()
    expected = f"{tmp_path}/xm3600/captions.jsonl, line 1: must have captions in the language 'es', got it"
    assert printed[-1] == f"Error: {expected}"
    assert main([*test, "--xm3600-images", str(tmp_path / "nowhere")]) == 2
    printed = capsys.readouterr().err.splitlines()
    assert printed[-1] == f"Error: benchmarks.xm3600_images: no such file or folder: {tmp_path}/nowhere"


def test_images_without_captions_are_refused(settings: SettingsFactory) -> None:
    with pytest.raises(InputError, match="`xflickrco_images` needs `xflickrco_captions`"):
        settings(xflickrco_images="images")
