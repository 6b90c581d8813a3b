from __future__ import annotations

import random
from itertools import product

import pytest
import spanish_reader
from enumeration import everything
from hypothesis import given, settings
from hypothesis import strategies as st

from themo.miniature.grammar import (
    Content,
    Group,
    english_group,
    english_sentence,
    spanish_group,
    spanish_sentence,
)
from themo.miniature.lexicon import ABOVE, BELOW, LEFT, RIGHT

SHAPES = ("circle", "square", "triangle", "diamond", "star", "heart", "cross", "ring", "moon", "arrow")
COLOURS = ("red", "green", "blue", "yellow", "orange", "pink", "white", "purple")
SIZES = ("small", "large")
RELATIONS = {LEFT: "left", RIGHT: "right", ABOVE: "above", BELOW: "below"}
BACKGROUNDS = ("black", "grey", "brown", "navy")

RED_STARS = Group(shape=4, count=2, colour=0)
BLUE_SQUARE = Group(shape=1, count=1, colour=2)
STARS_BESIDE_SQUARE = Content(RED_STARS, BLUE_SQUARE, LEFT)

groups = st.builds(
    Group,
    shape=st.integers(0, 9),
    count=st.integers(1, 3),
    colour=st.none() | st.integers(0, 7),
    size=st.none() | st.integers(0, 1),
)
contents = st.builds(
    Content,
    first=groups,
    second=st.none() | groups,
    relation=st.none() | st.integers(0, 3),
    background=st.none() | st.integers(0, 3),
)


def reading(group: Group) -> spanish_reader.Reading:
    return (
        SHAPES[group.shape],
        group.count,
        None if group.colour is None else COLOURS[group.colour],
        None if group.size is None else SIZES[group.size],
    )


@pytest.mark.parametrize("shape", range(10))
def test_spanish_phrases_agree_in_gender_number_and_meaning(shape: int) -> None:
    for count, colour, size in product((1, 2, 3), (None, *range(8)), (None, 0, 1)):
        group = Group(shape, count, colour, size)
        for phrase in everything(lambda pick, group=group: spanish_group(group, pick)):
            assert spanish_reader.GROUPS.get(phrase) == reading(group), phrase


@pytest.mark.parametrize("relation", [None, LEFT, RIGHT, ABOVE, BELOW])
def test_every_spanish_word_order_agrees_and_keeps_the_meaning(relation: int | None) -> None:
    # A heart and a triangle have one name each, so that the orders of words are what varies.
    for counts, background in product([(1, 1), (1, 2), (2, 1), (3, 3)], (None, 0, 2)):
        first, second = Group(shape=5, count=counts[0]), Group(shape=2, count=counts[1])
        content = Content(first, second, relation, background)
        expected = (
            reading(first),
            reading(second),
            None if relation is None else RELATIONS[relation],
            None if background is None else BACKGROUNDS[background],
        )
        for sentence in everything(lambda pick, content=content: spanish_sentence(content, pick)):
            read = spanish_reader.read(sentence)
            assert expected in (read, spanish_reader.turned(read)), sentence


@given(content=contents, seed=st.integers(0, 2**32))
@settings(max_examples=300, deadline=None)
def test_any_spanish_sentence_is_understood_as_meant(content: Content, seed: int) -> None:
    sentence = spanish_sentence(content, random.Random(seed).choice)
    read = spanish_reader.read(sentence)
    second = None if content.second is None else reading(content.second)
    relation = None if content.second is None or content.relation is None else RELATIONS[content.relation]
    background = None if content.background is None else BACKGROUNDS[content.background]
    assert (reading(content.first), second, relation, background) in (read, spanish_reader.turned(read)), (
        sentence
    )


@pytest.mark.parametrize(
    "wrong",
    [
        "Una círculo rojo",
        "Dos estrellas rojos",
        "Una lucero dorado",
        "Un grande círculo",
        "Dos gran estrellas",
        "Tres corazónes azules",
        "Dos cruzes blancas",
        "Una estrella de color roja",
        "Dos cuadrados rosas azules",
        "Se ve dos círculos",
        "Aparecen un círculo rojo sobre fondo negro",
        "Un círculo están encima de dos estrellas",
        "Dos media lunas verdes",
        "Una sola gran estrella",
    ],
)
def test_the_reader_of_these_tests_refuses_wrong_spanish(wrong: str) -> None:
    with pytest.raises(ValueError, match="no agreement"):
        spanish_reader.read(wrong)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (STARS_BESIDE_SQUARE, "Dos estrellas rojas a la izquierda de un cuadrado azul"),
        (STARS_BESIDE_SQUARE, "A la izquierda de un cuadrado azul hay dos estrellas rojas"),
        (STARS_BESIDE_SQUARE, "Un cuadrado azul está a la derecha de dos luceros rojos"),
        (STARS_BESIDE_SQUARE, "Un cuadrado azul con dos estrellas de color rojo a su izquierda"),
        (STARS_BESIDE_SQUARE, "Al lado izquierdo de un solo cuadrado azul se ven dos luceros carmesíes"),
        (Content(RED_STARS, BLUE_SQUARE), "Dos estrellas rojas y un cuadrado azul"),
        (
            Content(Group(4, 1, 3, 1), background=3),
            "Se ve una gran estrella dorada sobre un fondo azul marino",
        ),
        (Content(Group(6, 3, 4, 0)), "Tres cruces naranja pequeñas"),
        (Content(Group(8, 2, 6, 1)), "Dos grandes medias lunas blancas"),
        (Content(Group(7, 1, 5, 0)), "Una diminuta argolla rosa"),
        (Content(Group(5, 2, 7, 1)), "Dos corazones violeta de gran tamaño"),
        (Content(Group(3, 1, 1, 1)), "Un diamante grande de color verde"),
    ],
)
def test_spanish_has_the_sentences_that_a_speaker_expects(content: Content, sentence: str) -> None:
    assert sentence in set(everything(lambda pick: spanish_sentence(content, pick)))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (STARS_BESIDE_SQUARE, "Two red stars to the left of a blue square"),
        (STARS_BESIDE_SQUARE, "To the left of one blue square there are two red stars"),
        (STARS_BESIDE_SQUARE, "There is a blue square to the right of two crimson stars"),
        (STARS_BESIDE_SQUARE, "A blue square with two red stars to its left"),
        (STARS_BESIDE_SQUARE, "Two red stars with a single blue square to their right"),
        (Content(Group(9, 1, 4), background=0), "On a black background there is an orange arrow"),
        (Content(Group(6, 3, 7, 0)), "A picture of three tiny violet crosses"),
        (Content(RED_STARS, BLUE_SQUARE), "A blue square and two red stars"),
    ],
)
def test_english_has_the_sentences_that_a_speaker_expects(content: Content, sentence: str) -> None:
    assert sentence in set(everything(lambda pick: english_sentence(content, pick)))


def test_every_english_phrase_has_the_right_article_and_number() -> None:
    for shape, count, colour, size in product(range(10), (1, 2, 3), (None, *range(8)), (None, 0, 1)):
        group = Group(shape, count, colour, size)
        for phrase in everything(lambda pick, group=group: english_group(group, pick)):
            first, second, *_ = words = phrase.split()
            assert (first == "an") == (first in ("a", "an") and second[0] in "aeiou"), phrase
            assert (words[-1].endswith("s") and words[-1] != "cross") == (count > 1), phrase
            assert not words[-1].endswith("crosss"), phrase


@given(content=contents)
@settings(max_examples=50, deadline=None)
def test_sentences_start_with_a_capital_and_have_no_stray_space(content: Content) -> None:
    for say in (english_sentence, spanish_sentence):
        sentence = say(content, random.Random(0).choice)
        assert sentence[0].isupper()
        assert sentence == " ".join(sentence.split())


def test_turning_a_content_twice_gives_it_back() -> None:
    assert STARS_BESIDE_SQUARE.turned() == Content(BLUE_SQUARE, RED_STARS, RIGHT)
    assert STARS_BESIDE_SQUARE.turned().turned() == STARS_BESIDE_SQUARE
