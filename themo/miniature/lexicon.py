"""The lexicon of the miniature world in English and Spanish.

An index in a table is the number in a scene: `SHAPES[4]` are the words of shape 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Gender = Literal["m", "f"]


@dataclass(frozen=True)
class EnglishNoun:
    """An English noun in singular and plural."""

    singular: str
    plural: str


@dataclass(frozen=True)
class SpanishNoun:
    """A Spanish noun in singular and plural, with its grammatical gender."""

    singular: str
    plural: str
    gender: Gender


@dataclass(frozen=True)
class SpanishAdjective:
    """The four forms of a Spanish adjective; the last field is its short form before a singular noun."""

    masculine: str
    feminine: str
    masculine_plural: str
    feminine_plural: str
    before_singular: str | None = None

    def agree(self, gender: Gender, plural: bool) -> str:
        """Return the form after a noun of that gender and number."""
        if plural:
            return self.masculine_plural if gender == "m" else self.feminine_plural
        return self.masculine if gender == "m" else self.feminine

    def agree_before(self, gender: Gender, plural: bool) -> str:
        """Return the form before the noun: "una gran estrella", but "grandes estrellas"."""
        if self.before_singular is not None and not plural:
            return self.before_singular
        return self.agree(gender, plural)


@dataclass(frozen=True)
class Shape:
    """A shape and its names."""

    english: tuple[EnglishNoun, ...]
    spanish: tuple[SpanishNoun, ...]


@dataclass(frozen=True)
class Colour:
    """A colour: red, green and blue from 0 to 255, and its names."""

    rgb: tuple[int, int, int]
    english: tuple[str, ...]
    spanish: tuple[SpanishAdjective, ...]


@dataclass(frozen=True)
class Size:
    """A size and its names; the Spanish phrases follow noun and colour."""

    english: tuple[str, ...]
    spanish: tuple[SpanishAdjective, ...]
    spanish_phrases: tuple[str, ...]


@dataclass(frozen=True)
class Background:
    """A background: red, green and blue from 0 to 255, and its names (in Spanish agreeing with "fondo")."""

    rgb: tuple[int, int, int]
    english: tuple[str, ...]
    spanish: tuple[str, ...]


@dataclass(frozen=True)
class Relation:
    """The position of one group relative to another.

    Attributes:
        english: Prepositions before the other group ("above").
        english_of: Phrases after "with ..." by number of the other group ("above it", "above them").
        spanish: Prepositions before the other group ("encima de").
        spanish_of: Phrases after "con ..." ("a su izquierda"), the same in singular and plural.
    """

    english: tuple[str, ...]
    english_of: tuple[str, str]
    spanish: tuple[str, ...]
    spanish_of: str


def _regular(masculine: str) -> SpanishAdjective:
    stem = masculine[:-1]
    return SpanishAdjective(masculine, stem + "a", masculine + "s", stem + "as")


def _one_gender(singular: str, plural: str, before_singular: str | None = None) -> SpanishAdjective:
    return SpanishAdjective(singular, singular, plural, plural, before_singular)


def _english(*nouns: str) -> tuple[EnglishNoun, ...]:
    return tuple(EnglishNoun(noun, noun + ("es" if noun.endswith("s") else "s")) for noun in nouns)


SHAPES = (
    Shape(
        _english("circle", "disc"),
        (SpanishNoun("círculo", "círculos", "m"), SpanishNoun("disco", "discos", "m")),
    ),
    Shape(_english("square"), (SpanishNoun("cuadrado", "cuadrados", "m"),)),
    Shape(_english("triangle"), (SpanishNoun("triángulo", "triángulos", "m"),)),
    Shape(
        _english("diamond"),
        (SpanishNoun("rombo", "rombos", "m"), SpanishNoun("diamante", "diamantes", "m")),
    ),
    Shape(
        _english("star"), (SpanishNoun("estrella", "estrellas", "f"), SpanishNoun("lucero", "luceros", "m"))
    ),
    Shape(_english("heart"), (SpanishNoun("corazón", "corazones", "m"),)),
    Shape(_english("cross"), (SpanishNoun("cruz", "cruces", "f"),)),
    Shape(
        _english("ring", "hoop"),
        (
            SpanishNoun("anillo", "anillos", "m"),
            SpanishNoun("argolla", "argollas", "f"),
            SpanishNoun("aro", "aros", "m"),
        ),
    ),
    Shape(
        _english("moon", "crescent"),
        (SpanishNoun("luna", "lunas", "f"), SpanishNoun("media luna", "medias lunas", "f")),
    ),
    Shape(_english("arrow"), (SpanishNoun("flecha", "flechas", "f"),)),
)

COLOURS = (
    Colour((226, 38, 38), ("red", "crimson"), (_regular("rojo"), _one_gender("carmesí", "carmesíes"))),
    Colour((36, 186, 62), ("green",), (_one_gender("verde", "verdes"),)),
    Colour((58, 112, 255), ("blue",), (_one_gender("azul", "azules"),)),
    Colour((255, 232, 40), ("yellow", "golden"), (_regular("amarillo"), _regular("dorado"))),
    Colour((255, 136, 0), ("orange",), (_one_gender("naranja", "naranja"), _regular("anaranjado"))),
    Colour((255, 138, 200), ("pink",), (_one_gender("rosa", "rosa"), _regular("rosado"))),
    Colour((250, 250, 250), ("white",), (_regular("blanco"),)),
    Colour((150, 62, 214), ("purple", "violet"), (_regular("morado"), _one_gender("violeta", "violeta"))),
)

SIZES = (
    Size(
        ("small", "little", "tiny"),
        (_regular("pequeño"), _regular("diminuto")),
        ("de pequeño tamaño", "de tamaño pequeño"),
    ),
    Size(
        ("large", "big", "huge"),
        (_one_gender("grande", "grandes", "gran"), _one_gender("enorme", "enormes")),
        ("de gran tamaño",),
    ),
)

BACKGROUNDS = (
    Background((0, 0, 0), ("black",), ("negro",)),
    Background((72, 72, 72), ("grey", "gray"), ("gris",)),
    Background((74, 44, 18), ("brown",), ("marrón", "café")),
    Background((10, 14, 78), ("navy", "navy blue"), ("azul marino",)),
)

LEFT, RIGHT, ABOVE, BELOW = range(4)

RELATIONS = (
    Relation(
        ("to the left of", "left of", "on the left of"),
        ("to its left", "to their left"),
        ("a la izquierda de", "al lado izquierdo de"),
        "a su izquierda",
    ),
    Relation(
        ("to the right of", "right of", "on the right of"),
        ("to its right", "to their right"),
        ("a la derecha de", "al lado derecho de"),
        "a su derecha",
    ),
    Relation(("above", "over"), ("above it", "above them"), ("encima de", "por encima de"), "encima"),
    Relation(("below", "under"), ("below it", "below them"), ("debajo de", "por debajo de"), "debajo"),
)

OPPOSITE = (RIGHT, LEFT, BELOW, ABOVE)
"""The relation seen from the other group: `OPPOSITE[LEFT] == RIGHT`."""

LARGEST_COUNT = 3
"""A group holds one to three objects."""

N_COMBINATIONS = len(SHAPES) * len(COLOURS)
"""Shape-colour pairs; pair `shape * len(COLOURS) + colour` is also class of the classification test."""
