from pathlib import Path

import pytest
from foreign_models import write_marian
from tiny import write_lines

from themo.errors import InputError
from themo.evaluation.prompts import fill_templates, translate_prompts
from themo.files.cache import Cache
from themo.models.marian import Translator

NAMES = ["synset\ten\tes", "n01440764\ttench\tuna tenca", "n01443537\tgoldfish\tun pez dorado"]
TEMPLATES = ["es\ten", "una foto de {}\ta photo of a {}", "{}, de cerca\ta close-up of a {}"]


def filled(folder: Path, names: list[str], templates: list[str]) -> list[list[str]]:
    files = write_lines(folder / "names.tsv", names), write_lines(folder / "templates.tsv", templates)
    path = fill_templates(Cache(folder / "cache"), *files)
    return [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_name_goes_into_every_template(tmp_path: Path) -> None:
    more = [*NAMES, "n01443537\tgold fish\tun carpín dorado"]
    assert filled(tmp_path, more, TEMPLATES) == [
        ["synset", "en", "es"],
        ["n01440764", "a photo of a tench", "una foto de una tenca"],
        ["n01440764", "a close-up of a tench", "una tenca, de cerca"],
        ["n01443537", "a photo of a goldfish", "una foto de un pez dorado"],
        ["n01443537", "a close-up of a goldfish", "un pez dorado, de cerca"],
        ["n01443537", "a photo of a gold fish", "una foto de un carpín dorado"],
        ["n01443537", "a close-up of a gold fish", "un carpín dorado, de cerca"],
    ]


@pytest.mark.parametrize(
    ("names", "templates", "message"),
    [
        (["en\tes", "a\tb"], TEMPLATES, "names.tsv, line 1: the header must be 'synset' and language codes"),
        ([*NAMES, "n1\tx"], TEMPLATES, "names.tsv, line 4: must have 3 columns, none empty, got 'n1, x'"),
        (NAMES, ["en\tfr", "{}\t{}"], "templates.tsv, line 1: the header must be the language codes of "),
        (NAMES, ["en\tes"], "templates.tsv: must contain at least one row of templates, got none"),
        (NAMES, ["en\tes", "{}\tuna foto"], "line 2: a template must contain {} once, got 'una foto'"),
        (NAMES, ["en\tes", "{} {}\t{}"], "line 2: a template must contain {} once, got '{} {}'"),
    ],
)
def test_refusals(tmp_path: Path, names: list[str], templates: list[str], message: str) -> None:
    with pytest.raises(InputError) as caught:
        filled(tmp_path, names, templates)
    assert message in str(caught.value)


def test_prompts_are_translated(tmp_path: Path) -> None:
    mapping = write_lines(
        tmp_path / "LOC_synset_mapping.txt", ["n01440764 red cat, cat", "n01443537 old dog"]
    )
    marian = str(write_marian(tmp_path / "marian"))
    path = translate_prompts(Cache(tmp_path / "cache"), mapping, "es", marian, "cpu")
    english = ["a picture of a red cat", "a picture of a old dog"]
    spanish = Translator.load(marian).translate(english)
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    assert rows == [
        ["synset", "en", "es"],
        ["n01440764", english[0], spanish[0]],
        ["n01443537", english[1], spanish[1]],
    ]
    assert translate_prompts(Cache(tmp_path / "cache"), mapping, "es", marian, "cpu") == path
