"""An independent reader of the miniature's Spanish, with tables of its own: refuses what does not agree."""

from __future__ import annotations

import re
from itertools import product

# Noun: (shape, gender). Written by hand, not taken from the lexicon under test.
SINGULAR_NOUNS = {
    "círculo": ("circle", "m"),
    "disco": ("circle", "m"),
    "cuadrado": ("square", "m"),
    "triángulo": ("triangle", "m"),
    "rombo": ("diamond", "m"),
    "diamante": ("diamond", "m"),
    "estrella": ("star", "f"),
    "lucero": ("star", "m"),
    "corazón": ("heart", "m"),
    "cruz": ("cross", "f"),
    "anillo": ("ring", "m"),
    "argolla": ("ring", "f"),
    "aro": ("ring", "m"),
    "luna": ("moon", "f"),
    "media luna": ("moon", "f"),
    "flecha": ("arrow", "f"),
}
IRREGULAR_PLURALS = {"corazón": "corazones", "cruz": "cruces", "media luna": "medias lunas"}
PLURAL_NOUNS = {IRREGULAR_PLURALS.get(noun, noun + "s"): value for noun, value in SINGULAR_NOUNS.items()}

# Colour: forms as masculine singular, feminine singular, masculine plural, feminine plural.
COLOURS = {
    "red": ["rojo roja rojos rojas", "carmesí carmesí carmesíes carmesíes"],
    "green": ["verde verde verdes verdes"],
    "blue": ["azul azul azules azules"],
    "yellow": ["amarillo amarilla amarillos amarillas", "dorado dorada dorados doradas"],
    "orange": ["naranja naranja naranja naranja", "anaranjado anaranjada anaranjados anaranjadas"],
    "pink": ["rosa rosa rosa rosa", "rosado rosada rosados rosadas"],
    "white": ["blanco blanca blancos blancas"],
    "purple": ["morado morada morados moradas", "violeta violeta violeta violeta"],
}
SIZES_AFTER = {
    "small": ["pequeño pequeña pequeños pequeñas", "diminuto diminuta diminutos diminutas"],
    "large": ["grande grande grandes grandes", "enorme enorme enormes enormes"],
}
SIZES_BEFORE = {
    "small": ["pequeño pequeña pequeños pequeñas", "diminuto diminuta diminutos diminutas"],
    "large": ["gran gran grandes grandes", "enorme enorme enormes enormes"],
}
SIZE_PHRASES = {"de pequeño tamaño": "small", "de tamaño pequeño": "small", "de gran tamaño": "large"}
NUMBERS = {
    ("m", 1): ("un", "un solo"),
    ("f", 1): ("una", "una sola"),
    ("m", 2): ("dos",),
    ("f", 2): ("dos",),
    ("m", 3): ("tres",),
    ("f", 3): ("tres",),
}

Reading = tuple[str, int, str | None, str | None]


def every_group() -> dict[str, Reading]:
    """Map every correct phrase for a group to (shape, count, colour, size)."""
    phrases: dict[str, Reading] = {}
    for count in (1, 2, 3):
        for noun, (shape, gender) in (SINGULAR_NOUNS if count == 1 else PLURAL_NOUNS).items():
            column = (gender == "f") + 2 * (count > 1)

            def forms(table: dict[str, list[str]], column: int = column) -> list[tuple[str, str]]:
                return [(row.split()[column], name) for name, rows in table.items() for row in rows]

            colours: list[tuple[str, str | None]] = [("", None), *forms(COLOURS)]
            colours += [(f"de color {form}", name) for form, name in forms(COLOURS, column=0)]
            for (colour, colour_name), number in product(colours, NUMBERS[gender, count]):
                found: dict[str, str | None] = {f"{number} {noun} {colour}": None}
                for size, size_name in forms(SIZES_AFTER):
                    words = (noun, size, colour) if colour.startswith("de ") else (noun, colour, size)
                    found[" ".join((number, *words))] = size_name
                if not colour.startswith("de "):
                    found |= {
                        f"{number} {noun} {colour} {phrase}": name for phrase, name in SIZE_PHRASES.items()
                    }
                if not number.endswith(("solo", "sola")):
                    found |= {f"{number} {size} {noun} {colour}": name for size, name in forms(SIZES_BEFORE)}
                for phrase, size_of in found.items():
                    phrases[" ".join(phrase.split())] = (shape, count, colour_name, size_of)
    return phrases


GROUPS = every_group()

_GROUP = r"((?:un|una|dos|tres)\b[^,]*?)"
_GROUND = r"(?: (?:(?:sobre|en|contra) un|sobre) fondo (?P<ground>negro|gris|marrón|café|azul marino))?"
_FRONT = _GROUND.removeprefix("(?: ").removesuffix(")?").replace("ground", "front")
_WHERE = (
    r"(a la izquierda de|al lado izquierdo de|a la derecha de|al lado derecho de|"
    r"(?:por )?encima de|(?:por )?debajo de)"
)
_BESIDE = r"(a su izquierda|a su derecha|encima|debajo)"
_SIDES = {"izquierd": "left", "derech": "right", "encima": "above", "debajo": "below"}
_OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above"}
_BACKGROUNDS = {"negro": "black", "gris": "grey", "marrón": "brown", "café": "brown", "azul marino": "navy"}
_SEE = r"(?P<verb>hay|se ve|se ven|aparece|aparecen|está|están)"
_PLACE = r"(?:en (?:la imagen|el dibujo) )?"
_TITLE = r"(?:una imagen de|una imagen con|un dibujo de)"

# Pattern, and which of its groups lies where: "ab" is A where B, "ba" is B named first.
PATTERNS = [
    (rf"(?:{_TITLE} )?{_GROUP}{_GROUND}", "a"),
    (rf"{_PLACE}{_SEE} {_GROUP}{_GROUND}", "va"),
    (rf"{_FRONT} {_SEE} {_GROUP}", "va"),
    (rf"(?:{_TITLE} )?{_GROUP} y {_GROUP}{_GROUND}", "ab"),
    (rf"{_PLACE}{_SEE} {_GROUP} y {_GROUP}{_GROUND}", "vab"),
    (rf"(?:{_TITLE} )?{_GROUP} {_WHERE} {_GROUP}{_GROUND}", "awb"),
    (rf"{_PLACE}{_SEE} {_GROUP} {_WHERE} {_GROUP}{_GROUND}", "vawb"),
    (rf"{_FRONT} {_SEE} {_GROUP} {_WHERE} {_GROUP}", "vawb"),
    (rf"{_GROUP} {_SEE} {_WHERE} {_GROUP}{_GROUND}", "avwb"),
    (rf"{_WHERE} {_GROUP} {_SEE} {_GROUP}{_GROUND}", "wbva"),
    (rf"{_GROUP} con {_GROUP} {_BESIDE}{_GROUND}", "baw"),
]


def read(sentence: str) -> tuple[Reading, Reading | None, str | None, str | None]:
    """Return (first group, second group, relation of the first to the second, background) of a sentence.

    Raises:
        ValueError: The sentence is no Spanish that this reader knows, or something in it does not agree.
    """
    text = sentence[0].lower() + sentence[1:]
    for pattern, order in PATTERNS:
        match = re.fullmatch(pattern, text)
        if match is None:
            continue
        named = match.groupdict()
        parts = [part for part in match.groups() if part not in (named.get("ground"), named.get("front"))]
        roles = dict(zip(order, [part for part in parts if part is not None], strict=True))
        if roles["a"] not in GROUPS or roles.get("b", roles["a"]) not in GROUPS:
            continue
        first, second = GROUPS[roles["a"]], GROUPS.get(roles.get("b", ""))
        many = first[1] > 1 or order == "vab"
        if roles.get("v", "hay") != "hay" and roles["v"].endswith("n") != many:
            continue
        if (roles.get("v", "") in ("está", "están")) != (order == "avwb"):
            continue
        where = next((side for stem, side in _SIDES.items() if stem in roles.get("w", "")), None)
        ground = named.get("ground") or named.get("front")
        return first, second, where, _BACKGROUNDS[ground] if ground else None
    raise ValueError(f"not understood, or no agreement: {sentence!r}")


def turned(reading: tuple[Reading, Reading | None, str | None, str | None]) -> tuple[object, ...]:
    """Return the same reading seen from the other group."""
    first, second, where, ground = reading
    return second, first, _OPPOSITE[where] if where else None, ground
