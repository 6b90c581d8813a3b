import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from themo.data.cleaning import KEPT, REASONS, Drops, Rules, code_of, judge, strip
from themo.data.corpora import SIDES

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
        ("“Yes”", "«Sí»"),
        ("What?", "«¿Qué?»"),
        ("€5", "5 €"),
        ("Yes 😀", "Sí 😀"),
        ("😀😀😀", "😀😀😀"),
        ("1 2 3 4 5", "1 2 3 4 5"),
        ("π", "π"),
        ("Is this love", "Es esto amor"),
        ("The Lord of the Rings", "The Lord of the Rings"),
        ("Yesterday I saw The Lord of the Rings", "Ayer vi The Lord of the Rings"),
        ("One Hundred Years of Solitude", "Cien años de soledad"),
        ("the Rio de la Plata", "el Río de la Plata"),
        ("paella de la casa", "paella de casa"),
        ("Copyright Example Corporation 2009", "Copyright Example Corporation 2009"),
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
        (
            "Yes.",
            "Sí. " + "Y después vino todo lo demás que nadie había pedido, " * 3,
            "with unequal lengths",
        ),
        ("the dog and the cat are here", "the dog and the cat are here", "in another language"),
        ("The president of the company said that", "The chair of the firm, and that", "in another language"),
        ("el perro de la casa", "el perro de la casa es de mi hermana", "in another language"),
        ("all rights of use reserved", "all rights of use reserved", "in another language"),
        ("ALL RIGHTS RESERVED HERE", "ALL RIGHTS RESERVED HERE", "in another language"),
        ("The cat is in the garden", "The President of France is in the garden", "in another language"),
        ("– (5 %) Yes!", "«Да» — 5 €, 10 %!", "in another language"),
        ("yes", "sí" * 5_001, "too long"),
        ("Hello my friend", "Привет, мой друг", "in another language"),
        ("– Yes…", "– Да…", "in another language"),
        ("你好，我的朋友", "Hola, amigo mío", "in another language"),
    ],
)
def test_broken_pairs_go(en: str, es: str | None, reason: str) -> None:
    assert reasons([(en, es)]) == [reason]
    assert reasons([(en, es)], NONE) == [reason if reason in ("empty", "too long") else ""]


SIGNS = st.sampled_from("«»¿?¡!“”…—€😀5% \u0301ªº")
LATIN = st.sampled_from("aeioáéíóúñüç")
MARKED = st.text(SIGNS, max_size=12)


def is_dropped(en: str, es: str) -> bool:
    (code,) = judge(batch_of([(en, es)]), Rules(max_length_ratio=None, check_language=True)).tolist()
    return code == code_of("in another language")


@given(st.lists(st.tuples(MARKED, st.text(LATIN, max_size=3)), max_size=4))
def test_signs_make_no_side_foreign(parts: list[tuple[str, str]]) -> None:
    text = "".join(signs + letters for signs, letters in parts)
    assert not is_dropped("z", f"z{text}")


@given(st.text(st.sampled_from("дабвг"), min_size=2, max_size=9), MARKED, st.booleans())
def test_signs_hide_no_other_script(letters: str, signs: str, is_english: bool) -> None:
    side = "".join(sign for sign in signs if not sign.isalpha()).join(["", letters, ""])
    assert is_dropped(*((side, "sí") if is_english else ("yes", side)))


CAPITALISED = st.sampled_from(["Rings", "Lord", "Óscar", "O'Hara", "Star", "Wars", "Niño"])
SMALL = st.sampled_from(["", "of", "the", "of the", "and", "de la", "del"])


@given(st.lists(st.tuples(SMALL, CAPITALISED), min_size=1, max_size=5), CAPITALISED)
def test_a_title_stays_in_its_language(parts: list[tuple[str, str]], first: str) -> None:
    title = " ".join([first, *(word for part in parts for word in part if word)])
    assert not is_dropped(title, title)
    assert not is_dropped(f"I saw {title}", f"Vi {title}")


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


def test_drops_are_counted_and_reported() -> None:
    codes = [0, 0, 1, 7, 7]
    drops = Drops.count("own", pa.array(codes).to_numpy())
    assert str(drops) == "own: 2 of 5 pairs kept; dropped: 1 empty, 2 duplicate"
    assert str(Drops.count("own", pa.array([0, 0]).to_numpy())) == "own: 2 of 2 pairs kept"
    assert Drops(**drops.to_json()) == drops


def test_most_pairs_in_another_language_are_asked_about() -> None:
    swapped = Drops("pairs.tsv", 4000, {"empty": 10, "in another language": 2190})
    assert str(swapped) == (
        "pairs.tsv: 1,800 of 4,000 pairs kept; dropped: 10 empty, 2,190 in another language "
        "(are its --columns English first, then Spanish?)"
    )
    assert "columns" not in str(Drops("pairs.tsv", 4000, {"in another language": 1999}))
