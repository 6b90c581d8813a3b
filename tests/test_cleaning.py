import pyarrow as pa
import pytest

from themo.cleaning import KEPT, REASONS, Drops, Rules, judge, strip
from themo.corpora import SIDES

ALL = Rules(max_length_ratio=3.0, check_language=True)
NONE = Rules(max_length_ratio=None, check_language=False)


def batch_of(pairs: list[tuple[str | None, str | None]]) -> pa.RecordBatch:
    sides = [pa.array(side, pa.large_string()) for side in zip(*pairs, strict=True)]
    return pa.record_batch(sides, names=SIDES)


def reasons(pairs: list[tuple[str | None, str | None]], rules: Rules = ALL) -> list[str]:
    batch = strip(batch_of(pairs))
    return ["" if code == KEPT else REASONS[code - 1] for code in judge(batch, rules)]


@pytest.mark.parametrize(
    ("en", "es"),
    [
        ("Hi.", "Hola, ¿qué tal?"),
        ("If you want, you can go.", "Si queréis, podéis ir."),
        ("Paris", "Paris"),
        ("Los Angeles", "Los Angeles"),
        ("The play is called El Niño de la Playa.", "La obra se llama El Niño de la Playa."),
        ("I love the Rolling Stones and The Who.", "Me encantan los Rolling Stones y The Who."),
        ("It weighs 5 kg", "Pesa 5 kg"),
        ("α and β decay", "desintegración α y β"),
        (
            "two red circles to the left of a big star",
            "dos círculos rojos a la izquierda de una gran estrella",
        ),
        ("No.", "No."),
        ("Yes!", "¡Sí!"),
        ("– Yes.", "– Sí."),
        ("“No…”", "«No…»"),
        ("— “Me”…", "— “Yo”…"),
        ("…", "…"),
    ],
)
def test_good_pairs_stay(en: str, es: str) -> None:
    assert reasons([(en, es)]) == [""]


@pytest.mark.parametrize(
    ("en", "es", "reason"),
    [
        ("", "hola", "empty"),
        ("hello", None, "empty"),
        (" \u3000", "hola", "empty"),
        ("\u200b", "hola", "empty"),
        ("hello", "\u2060 \ufeff\u00ad", "empty"),
        ("\u200b\u3000\u200b", "hola", "empty"),
        ("\x00\x7f", "hola", "empty"),
        ("Yes.", "Sí. " + "Y después vino todo lo demás que nadie había pedido, " * 3, "of another length"),
        ("the dog and the cat are here", "the dog and the cat are here", "in another language"),
        ("The president of the company said that", "The chair of the firm, and that", "in another language"),
        ("el perro de la casa", "el perro de la casa es de mi hermana", "in another language"),
        ("Copyright Example Corporation 2009", "Copyright Example Corporation 2009", "in another language"),
        ("Hello my friend", "Привет, мой друг", "in another language"),
        ("– Yes…", "– Да…", "in another language"),
        ("你好，我的朋友", "Hola, amigo mío", "in another language"),
    ],
)
def test_broken_pairs_go(en: str, es: str | None, reason: str) -> None:
    assert reasons([(en, es)]) == [reason]
    assert reasons([(en, es)], NONE) == [reason if reason == "empty" else ""]


def test_a_slice_is_judged_like_its_copy() -> None:
    pairs = [
        ("the dog and the cat", "the dog and the cat"),
        ("Hello.", "Hola."),
        ("", "x"),
        ("a b c d", "a b c d"),
    ]
    whole = batch_of(pairs)
    for start in range(len(pairs)):
        assert judge(whole.slice(start), ALL).tolist() == judge(whole, ALL).tolist()[start:]


def test_drops_are_counted_and_told() -> None:
    codes = [0, 0, 1, 6, 6]
    drops = Drops.count("own", pa.array(codes).to_numpy())
    assert str(drops) == "own: 2 of 5 pairs kept; dropped 1 empty, 2 duplicate"
    assert str(Drops.count("own", pa.array([0, 0]).to_numpy())) == "own: 2 of 2 pairs kept"
    assert Drops(**drops.to_json()) == drops


def test_most_pairs_in_another_language_are_asked_about() -> None:
    swapped = Drops("pairs.tsv", 4000, {"empty": 10, "in another language": 2190})
    assert str(swapped) == (
        "pairs.tsv: 1,800 of 4,000 pairs kept; dropped 10 empty, 2,190 in another language "
        "(are its --columns English first, then Spanish?)"
    )
    assert "columns" not in str(Drops("pairs.tsv", 4000, {"in another language": 1999}))
