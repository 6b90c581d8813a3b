"""Classes whose prompts no encoder can tell apart."""

import io
import json
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from themo.data.imagenet import ImageNet
from themo.evaluation.equal_prompts import equal_prompts, first_equal
from themo.evaluation.scores import Scores
from themo.evaluation.scoring import Row, evaluate

AXES = {"crane": 0, "grulla": 0, "grúa": 1, "jersey": 2, "cardigan": 3, "bird": 0}
IMAGENET = ImageNet(
    synsets=("n0", "n1", "n2", "n3"),
    prompts={
        "en": (("crane",), ("crane",), ("cardigan",), ("Cardigan ",)),
        "es": (("grulla",), ("grúa",), ("jersey",), ("cardigan",)),
    },
    images=tuple(Path(f"{i}.JPEG") for i in range(6)),
    class_of_image=(0, 1, 2, 3, 1, 0),
)


def encode(texts: Sequence[str]) -> torch.Tensor:
    """One axis a word; letters in any case, as CLIP reads them."""
    return torch.eye(4)[[AXES[text.strip().lower()] for text in texts]]


def images(paths: Sequence[Path]) -> torch.Tensor:
    """Each image lies where the English prompt of its class lies."""
    axes = [
        AXES[IMAGENET.prompts["en"][IMAGENET.class_of_image[int(p.stem)]][0].strip().lower()] for p in paths
    ]
    return torch.eye(4)[axes]


def scored(imagenet: ImageNet = IMAGENET) -> Scores:
    return evaluate(
        {"student": Row(encode, "es", images), "ceiling": Row(encode, "en", images)}, imagenet=imagenet
    )


def test_classes_with_equal_prompts_are_scored_as_one() -> None:
    scores = scored()
    assert scores.share("ceiling", "accuracy", 1) == 1.0
    assert scores.first["accuracy"]["ceiling"][:, 0].tolist() == [0, 0, 2, 2, 0, 0]


def test_each_language_has_its_own_equal_prompts() -> None:
    scores = scored()
    assert list(scores.equal_prompts) == ["en"]
    # In Spanish all four differ: images of class 1 lie at "grulla", which is class 0.
    assert scores.hits("student", "accuracy", 1).tolist()[:2] == [True, False]


def test_equal_vectors_of_different_prompts_are_still_ties() -> None:
    """Otherwise an encoder that gives everything the same vector would be right everywhere."""
    distinct = replace(IMAGENET, prompts={"en": (("crane",), ("bird",), ("jersey",), ("cardigan",))})
    scores = evaluate({"ceiling": Row(encode, "en", images)}, imagenet=distinct)
    assert (scores.ranks["accuracy"]["ceiling"][[0, 1, 4, 5]] > 0).all()
    assert not scores.equal_prompts


def test_json_lists_equal_prompts_by_language() -> None:
    assert json.loads(json.dumps(scored().to_dict()))["equal_prompts"] == {
        "en": [
            {"prompt": "crane", "synsets": ["n0", "n1"], "images": 4},
            {"prompt": "cardigan", "synsets": ["n2", "n3"], "images": 2},
        ]
    }
    distinct = replace(IMAGENET, prompts=dict.fromkeys(("en", "es"), IMAGENET.prompts["es"]))
    assert "equal_prompts" not in scored(distinct).to_dict()


def printed(scores: Scores) -> list[str]:
    stream = io.StringIO()
    Console(file=stream, width=80, force_terminal=False).print(scores.to_tables())
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def test_the_table_names_equal_prompts() -> None:
    lines = printed(scored())
    at = lines.index("equal prompts (en), scored as one class: 6 images")
    assert lines[at + 1 : at + 3] == ["  crane: n0, n1", "  cardigan: n2, n3"]


def test_the_table_counts_equal_prompts_beyond_three() -> None:
    prompts = tuple((f"[b]{i // 2}",) for i in range(10))
    many = ImageNet(tuple(f"n{i}" for i in range(10)), {"en": prompts}, IMAGENET.images, (0, 1, 2, 3, 4, 5))
    scores = evaluate(
        {"ceiling": Row(lambda texts: torch.eye(10)[: len(texts)], "en", lambda _: torch.eye(10)[:6])},
        imagenet=many,
    )
    lines = printed(scores)
    assert "  [b]2: n4, n5" in lines
    assert "  and 2 more; `test --json` lists them" in lines
    assert "  [b]3: n6, n7" not in lines


FORMS: tuple[Literal["NFC", "NFD"], ...] = ("NFC", "NFD")
PROMPTS = st.lists(st.text(alphabet="aáñßAÑﬁ ", min_size=1, max_size=4), min_size=1, max_size=3)


@given(PROMPTS, st.sampled_from(FORMS), st.booleans())
def test_case_form_space_and_order_make_no_other_class(
    prompts: list[str], form: Literal["NFC", "NFD"], upper: bool
) -> None:
    other = [unicodedata.normalize(form, f" {p.upper() if upper else p}\t") for p in reversed(prompts)]
    assert first_equal([prompts, other]) == [0, 0]
    assert first_equal([prompts, other * 2]) == [0, 0], "the mean is the same"


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=3), max_size=8))
def test_first_equal_is_the_first_of_the_same_shares(prompts: list[list[str]]) -> None:
    def shares(of_class: list[str]) -> list[float]:
        return [of_class.count(letter) / len(of_class) for letter in "abc"]

    expected = [next(i for i, other in enumerate(prompts) if shares(other) == shares(own)) for own in prompts]
    assert first_equal(prompts) == expected


def test_imagenets_first_names_hold_three_pairs() -> None:
    """Pairs as CLIP reads them: crane and maillot twice, cardigan in either case."""
    names = ["crane", "crane", "maillot", "maillot", "cardigan", "Cardigan", "missile"]
    prompts = {"en": tuple((f"a picture of a {name}",) for name in names)}
    pictures = tuple(Path(f"{i}.JPEG") for i in range(7))
    found = equal_prompts(ImageNet(tuple(map(str, range(7))), prompts, pictures, tuple(range(7))), "en")
    assert [(classes.prompt, classes.n_images) for classes in found] == [
        ("a picture of a crane", 2),
        ("a picture of a maillot", 2),
        ("a picture of a cardigan", 2),
    ]
