import io
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from rich.console import Console

from themo.data.imagenet import ImageNet
from themo.data.xtd10 import Xtd10
from themo.errors import InputError
from themo.evaluation.intervals import wilson_interval
from themo.evaluation.scores import Scores
from themo.evaluation.scoring import ImageEncoder, Row, TextEncoder, evaluate

# Four images on four axes; an encoder is a dictionary of directions.
IMAGES = torch.eye(4)
ENGLISH = {"red": [1, 0, 0, 0], "green": [0, 1, 0, 0], "blue": [0, 0, 1, 0], "grey": [0, 0, 0, 1]}
SPANISH = {"rojo": [9, 1, 0, 0], "verde": [0, 2, 1, 0], "azul": [0, 2, 1, 0], "gris": [4, 3, 2, 1]}
#          rank 0                rank 0                 rank 1                rank 3
XTD10 = Xtd10(
    captions={"en": tuple(ENGLISH), "es": tuple(SPANISH)},
    images=tuple(Path(f"{i}.jpg") for i in range(4)),
    image_of_caption=(0, 1, 2, 3),
)
IMAGENET = ImageNet(
    synsets=("n1", "n2"),
    prompts={"en": (("red",), ("blue",)), "es": (("rojo", "verde"), ("azul",))},
    images=tuple(Path(f"{i}.JPEG") for i in range(3)),
    class_of_image=(0, 1, 1),
)


class Encoder:
    """Looks vectors up, and records its calls."""

    def __init__(self, vectors: dict[str, list[int]]) -> None:
        self.vectors = vectors

    def __call__(self, texts: Sequence[str]) -> torch.Tensor:
        return torch.tensor([self.vectors[text] for text in texts], dtype=torch.float32)


class Images:
    """Image i lies on axis i."""

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale
        self.asked: list[int] = []

    def __call__(self, paths: Sequence[Path]) -> torch.Tensor:
        self.asked.append(len(paths))
        return self.scale * IMAGES[[int(path.stem) for path in paths]]


def rows(images: Images | None = None) -> dict[str, Row]:
    images = images or Images()
    return {
        "student": Row(Encoder(SPANISH), "es", images),
        "ceiling": Row(Encoder(ENGLISH), "en", images),
    }


def retrieved(
    encode: TextEncoder, captions: Sequence[str], right: tuple[int, ...], images: ImageEncoder | None = None
) -> list[int]:
    """Ranks of the right ones of four images."""
    test_set = Xtd10({"es": tuple(captions)}, XTD10.images, right)
    row = Row(encode, "es", images or Images())
    return evaluate({"row": row}, test_set).ranks["retrieval"]["row"].tolist()


def classified(
    encode: TextEncoder, prompts: Sequence[tuple[str, ...]], right: tuple[int, ...], images: ImageEncoder
) -> list[int]:
    """Ranks of the right classes of the first images."""
    synsets = tuple(f"n{i}" for i in range(len(prompts)))
    test_set = ImageNet(synsets, {"es": tuple(prompts)}, XTD10.images[: len(right)], right)
    row = Row(encode, "es", images)
    return evaluate({"row": row}, imagenet=test_set).ranks["accuracy"]["row"].tolist()


def test_retrieval_ranks_by_hand() -> None:
    assert retrieved(Encoder(SPANISH), ["rojo", "verde", "azul", "gris"], (0, 1, 2, 3)) == [0, 0, 1, 3]


def test_retrieval_several_captions_an_image() -> None:
    # Blue is wrong for image 1: all other images tie with it or rank higher.
    assert retrieved(Encoder(ENGLISH), ["red", "red", "blue"], (0, 0, 1)) == [0, 0, 3]


def test_accuracy_averages_unit_vectors_of_prompts() -> None:
    # Prompt lengths must not count: the long one would pull class 0 to axis 1.
    encoder = Encoder({"a": [1, 0, 0, 0], "b": [0, 100, 0, 0], "c": [1, 2, 0, 0]})
    assert classified(encoder, [("a", "a", "b"), ("c",)], (0, 1), Images(scale=3)) == [0, 0]


def test_scores_by_hand() -> None:
    scores = evaluate(rows(), XTD10, IMAGENET)
    assert scores.n == {"retrieval": 4, "accuracy": 3}
    # Spanish classes: 0 is rojo and verde, 1 is azul, which leans to axis 1 more than verde's half.
    assert scores.share("student", "retrieval", 1) == 0.5
    assert scores.share("student", "accuracy", 1) == 1.0
    # English: image 1 is green, which neither class knows: a tie, so no hit.
    assert scores.share("ceiling", "accuracy", 1) == pytest.approx(2 / 3)
    assert scores.hits("student", "retrieval", 1).tolist() == [True, True, False, False]
    assert scores.retention == 0.5


def test_json_is_the_contract() -> None:
    result = json.loads(json.dumps(evaluate(rows(), XTD10, IMAGENET).to_dict(), allow_nan=False))
    assert list(result) == ["student", "ceiling", "n", "ci95", "retention"]
    metrics = [f"{task}@{k}" for task in ("retrieval", "accuracy") for k in ("01", "05", "10")]
    assert list(result["student"]) == list(result["ci95"]["ceiling"]) == metrics
    assert result["student"]["retrieval@01"] == 0.5
    assert result["student"]["retrieval@05"] == 1.0
    assert result["n"] == {"retrieval": 4, "accuracy": 3}
    assert result["ci95"]["student"]["retrieval@01"] == pytest.approx(list(wilson_interval(2, 4)))
    assert result["retention"] == 0.5


def test_one_task_alone() -> None:
    result = evaluate(rows(), imagenet=IMAGENET).to_dict()
    assert list(result) == ["student", "ceiling", "n", "ci95"], "no retention without retrieval"
    assert result["n"] == {"accuracy": 3}
    assert all(name.startswith("accuracy@") for name in result["student"])


def test_no_retention_without_a_ceiling_above_zero() -> None:
    student = rows()["student"]
    assert evaluate({"student": student}, XTD10).retention is None
    backwards = Row(Encoder({name: [-x for x in v] for name, v in ENGLISH.items()}), "en", student.images)
    assert evaluate({"student": student, "ceiling": backwards}, XTD10).retention is None


def test_images_are_encoded_once_for_rows_that_share_a_tower() -> None:
    images, other = Images(), Images(scale=5)
    scored = evaluate({**rows(images), "baseline": Row(Encoder(SPANISH), "es", other)}, XTD10, IMAGENET)
    assert images.asked == other.asked == [4, 3]
    assert scored.to_dict()["baseline"] == scored.to_dict()["student"]


def test_rows_are_compared_on_the_same_queries() -> None:
    scores = evaluate(rows(), XTD10)
    difference = scores.difference("ceiling", "student", "retrieval", 1)
    assert difference.difference == 0.5
    assert -1 <= difference.low < 0 < 0.5 < difference.high <= 1, "two queries decide nothing"


def test_baselines_alone_have_no_differences() -> None:
    ranks = torch.tensor([0, 1])
    scores = Scores({"retrieval": {"teacher": ranks, "mclip": ranks}})
    assert scores.baselines == ()
    assert not {"differences", "leads_above_0"} & scores.to_dict().keys()


def printed(scores: Scores, width: int = 80) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, force_terminal=False).print(scores.to_tables())
    return stream.getvalue()


def test_table_is_readable_at_80_columns() -> None:
    generator = torch.Generator().manual_seed(0)
    ranks = {
        name: torch.randint(20, (1000,), generator=generator)
        for name in ("student", "ceiling", "M-CLIP [B/32]")
    }
    text = printed(Scores({"retrieval": ranks, "accuracy": {name: ranks[name][:960] for name in ranks}}))
    lines = [line.strip() for line in text.splitlines()]
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    header = next(line for line in lines if "@01" in line)
    assert header.split() == ["@01", "@05", "@10"]
    assert sum(line.startswith("M-CLIP [B/32]") for line in lines) == 2
    assert any(line.split() == ["Retrieval", "1,000", "captions"] for line in lines)
    assert any(line.split() == ["Accuracy", "960", "images"] for line in lines)
    hits = int((ranks["student"] < 1).sum())
    low, high = wilson_interval(hits, 1000)
    first = next(line for line in lines if line.startswith("student"))
    assert first.split()[1:3] == [f"{hits / 1000:.3f}", f"{low:.3f}–{high:.3f}"]


def test_table_says_the_smallest_significant_lead() -> None:
    places = torch.arange(1000)
    ranks = {"student": (places < 100).long(), "mclip": (places >= 900).long(), "twin": (places < 100).long()}
    lines = [line.strip() for line in printed(Scores({"retrieval": ranks})).splitlines()]
    at = lines.index("student - mclip, retrieval@01: +0.000, -0.028 to +0.028")
    assert lines[at + 1] == "smallest significant lead: +0.028"  # 1.96 sqrt(200) queries
    assert "student - twin, retrieval@01: +0.000, -0.004 to +0.004" in lines  # none differs
    assert Scores({"retrieval": ranks}).to_dict()["leads_above_0"]["mclip"]["retrieval@01"] == 0.028
    few = printed(evaluate({**rows(), "mclip": rows()["student"]}, imagenet=IMAGENET))
    assert "3 queries are too few for a significant lead" in few


def test_table_says_retention() -> None:
    assert "retention 0.500" in printed(evaluate(rows(), XTD10))


def test_a_language_that_is_not_there_is_refused_before_any_work() -> None:
    images = Images()
    french = {**rows(images), "francés": Row(Encoder({}), "fr", images)}
    with pytest.raises(
        InputError, match="XTD10's captions: must be in the language of 'francés', got en, es but"
    ):
        evaluate(french, XTD10)
    with pytest.raises(InputError, match="ImageNet's prompts: must be in the language of 'francés'"):
        evaluate(french, imagenet=IMAGENET)
    assert images.asked == []


def test_reserved_names_and_nothing_to_do_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must not be called n, ci95, .*, benchmarks, sizes, got 'ci95'"):
        evaluate({"ci95": rows()["student"]}, XTD10)
    with pytest.raises(ValueError, match="nothing to score"):
        evaluate(rows())


def test_a_broken_encoder_has_no_score() -> None:
    def broken(texts: Sequence[str]) -> torch.Tensor:
        return torch.full((len(texts), 4), torch.nan)

    with pytest.raises(FloatingPointError, match="2 of 2 text vectors are NaN or infinite"):
        retrieved(broken, ["a", "b"], (0, 1))
    with pytest.raises(FloatingPointError, match="4 of 4 image vectors are NaN or infinite"):
        classified(Encoder(ENGLISH), [("red",)], (0, 0, 0, 0), lambda _: IMAGES / 0)


def test_shapes_that_do_not_fit_are_named() -> None:
    def short(texts: Sequence[str]) -> torch.Tensor:
        return torch.zeros(len(texts) - 1, 4)

    with pytest.raises(ValueError, match=r"one row per text, got \(1, 4\) for 2"):
        retrieved(short, ["a", "b"], (0, 1))
    with pytest.raises(ValueError, match=r"same E, got \(1, 4\) and \(4, 3\)"):
        retrieved(Encoder(ENGLISH), ["red"], (0,), lambda _: IMAGES[:, :3])
    with pytest.raises(ValueError, match="class 1 has none"):
        classified(Encoder(ENGLISH), [("red",), ()], (0, 1, 1, 1), Images())
