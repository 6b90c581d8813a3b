"""English and Spanish sentences with the same content about a scene, each with its own words and order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from themo.miniature.lexicon import BACKGROUNDS, COLOURS, OPPOSITE, RELATIONS, SHAPES, SIZES, SpanishNoun

T = TypeVar("T")


class Pick(Protocol):
    """Takes one of several options; the method `choice` of a `random.Random` is one such callable."""

    def __call__(self, options: Sequence[T], /) -> T:
        """Return one of `options`."""


@dataclass(frozen=True)
class Group:
    """The content about one to three equal objects; None for facts left out."""

    shape: int
    count: int
    colour: int | None = None
    size: int | None = None


@dataclass(frozen=True)
class Content:
    """The content of a sentence, in no language: `first` is in `relation` to `second`.

    Without `second` the sentence is about one group; without `relation` it only names both.
    """

    first: Group
    second: Group | None = None
    relation: int | None = None
    background: int | None = None

    def turned(self) -> Content:
        """Return the same content seen from the other group: A above B is B below A."""
        if self.second is None:
            return self
        relation = None if self.relation is None else OPPOSITE[self.relation]
        return replace(self, first=self.second, second=self.first, relation=relation)


# In the templates {a} and {b} are the groups, {be} and {see} verbs that agree with {a}, {where} a preposition
# ("above"), {beside} the words after "B with A" ("above it"), {ground} the background after a space. Those
# with {front}, the background at the head of the sentence, need a stated background.

ENGLISH_ONE = (
    "{a}{ground}",
    "there {be} {a}{ground}",
    "a picture of {a}{ground}",
    "an image of {a}{ground}",
    "a drawing of {a}{ground}",
    "in the picture there {be} {a}{ground}",
    "{front} there {be} {a}",
)
ENGLISH_TOGETHER = (
    "{a} and {b}{ground}",
    "a picture of {a} and {b}{ground}",
    "an image of {a} and {b}{ground}",
    "a drawing of {a} and {b}{ground}",
)
ENGLISH_RELATED = (
    "{a} {where} {b}{ground}",
    "there {be} {a} {where} {b}{ground}",
    "{a} {be} {where} {b}{ground}",
    "{where} {b} there {be} {a}{ground}",
    "{b} with {a} {beside}{ground}",
    "a picture of {a} {where} {b}{ground}",
    "an image of {a} {where} {b}{ground}",
    "{front} there {be} {a} {where} {b}",
)
SPANISH_ONE = (
    "{a}{ground}",
    "hay {a}{ground}",
    "{see} {a}{ground}",
    "una imagen de {a}{ground}",
    "una imagen con {a}{ground}",
    "un dibujo de {a}{ground}",
    "en la imagen hay {a}{ground}",
    "en el dibujo {see} {a}{ground}",
    "{front} hay {a}",
    "{front} {see} {a}",
)
SPANISH_TOGETHER = (
    "{a} y {b}{ground}",
    "hay {a} y {b}{ground}",
    "una imagen de {a} y {b}{ground}",
    "una imagen con {a} y {b}{ground}",
    "un dibujo de {a} y {b}{ground}",
    "en la imagen se ven {a} y {b}{ground}",
)
SPANISH_RELATED = (
    "{a} {where} {b}{ground}",
    "hay {a} {where} {b}{ground}",
    "{see} {a} {where} {b}{ground}",
    "{a} {be} {where} {b}{ground}",
    "{where} {b} hay {a}{ground}",
    "{where} {b} {see} {a}{ground}",
    "{b} con {a} {beside}{ground}",
    "una imagen de {a} {where} {b}{ground}",
    "en la imagen {see} {a} {where} {b}{ground}",
    "{front} hay {a} {where} {b}",
    "{front} {see} {a} {where} {b}",
)


def english_sentence(content: Content, pick: Pick) -> str:
    """Say `content` in English: upper-case first letter, no full stop."""
    if content.second is not None:
        content = pick((content, content.turned()))
    ground = ""
    if content.background is not None:
        colour = pick(BACKGROUNDS[content.background].english)
        ground = f" {pick(('on', 'against'))} a {colour} background"
    words = {
        "a": english_group(content.first, pick),
        "be": "is" if content.first.count == 1 else "are",
        "ground": ground,
        "front": ground.strip(),
    }
    if content.second is None:
        return _filled(ENGLISH_ONE, words, pick)
    words["b"] = english_group(content.second, pick)
    if content.relation is None:
        return _filled(ENGLISH_TOGETHER, words, pick)
    relation = RELATIONS[content.relation]
    words["where"] = pick(relation.english)
    words["beside"] = relation.english_of[content.second.count > 1]
    return _filled(ENGLISH_RELATED, words, pick)


def english_group(group: Group, pick: Pick) -> str:
    """Name a group in English: "a small red circle", "two big yellow stars"."""
    noun = pick(SHAPES[group.shape].english)
    words = [noun.singular if group.count == 1 else noun.plural]
    if group.colour is not None:
        words.insert(0, pick(COLOURS[group.colour].english))
    if group.size is not None:
        words.insert(0, pick(SIZES[group.size].english))
    if group.count > 1:
        words.insert(0, ("two", "three")[group.count - 2])
    else:
        article = "an" if words[0][0] in "aeiou" else "a"
        words.insert(0, pick((article, article, "one", "a single")))
    return " ".join(words)


def spanish_sentence(content: Content, pick: Pick) -> str:
    """Say `content` in Spanish: upper-case first letter, no full stop."""
    if content.second is not None:
        content = pick((content, content.turned()))
    ground = ""
    if content.background is not None:
        colour = pick(BACKGROUNDS[content.background].spanish)
        ground = f" {pick(('sobre un', 'sobre', 'en un', 'contra un'))} fondo {colour}"
    many = content.first.count > 1
    words = {
        "a": spanish_group(content.first, pick),
        "be": "están" if many else "está",
        "see": pick(("se ven", "aparecen") if many else ("se ve", "aparece")),
        "ground": ground,
        "front": ground.strip(),
    }
    if content.second is None:
        return _filled(SPANISH_ONE, words, pick)
    words["b"] = spanish_group(content.second, pick)
    if content.relation is None:
        return _filled(SPANISH_TOGETHER, words, pick)
    relation = RELATIONS[content.relation]
    words["where"] = pick(relation.spanish)
    words["beside"] = relation.spanish_of
    return _filled(SPANISH_RELATED, words, pick)


def spanish_group(group: Group, pick: Pick) -> str:
    """Name a group in Spanish: "un pequeño círculo rojo", "dos estrellas de color amarillo"."""
    noun = pick(SHAPES[group.shape].spanish)
    plural = group.count > 1
    before: list[str] = []
    after: list[str] = []
    if group.colour is not None:
        adjective = pick(COLOURS[group.colour].spanish)
        # "de color rojo" agrees with "color", whatever the noun is.
        after.append(pick((adjective.agree(noun.gender, plural),) * 3 + (f"de color {adjective.masculine}",)))
    if group.size is not None:
        size = SIZES[group.size]
        places = (
            ["before", "after"] if after and after[0].startswith("de ") else ["before", "after", "phrase"]
        )
        place = pick(places)
        if place == "before":
            before.append(pick(size.spanish).agree_before(noun.gender, plural))
        elif place == "phrase":
            after.append(pick(size.spanish_phrases))
        else:
            # "un círculo rojo grande", but "un círculo grande de color rojo".
            last = len(places) == 3
            after.insert(len(after) if last else 0, pick(size.spanish).agree(noun.gender, plural))
    return " ".join([_spanish_number(group.count, noun, before, pick), *before, _form(noun, plural), *after])


def _spanish_number(count: int, noun: SpanishNoun, before: list[str], pick: Pick) -> str:
    if count > 1:
        return ("dos", "tres")[count - 2]
    article, alone = ("un", "un solo") if noun.gender == "m" else ("una", "una sola")
    return article if before else pick((article, article, article, alone))


def _form(noun: SpanishNoun, plural: bool) -> str:
    return noun.plural if plural else noun.singular


def _filled(templates: Sequence[str], words: dict[str, str], pick: Pick) -> str:
    usable = [template for template in templates if words["ground"] or "{front}" not in template]
    sentence = pick(usable).format(**words)
    return sentence[0].upper() + sentence[1:]
