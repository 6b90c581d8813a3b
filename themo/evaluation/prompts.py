"""Prompts for ImageNet's classes: own class names in templates, or translated English prompts."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from themo.data.imagenet import SYNSET, read_synonyms
from themo.data.text_lines import read_lines
from themo.data.xtd10 import ENGLISH
from themo.errors import InputError
from themo.files.cache import Cache
from themo.models.marian import Translator, translations
from themo.models.normal_form import is_blank

PROMPT = "a picture of a {}"
"""English prompt of the original; {} is a class's first name."""

NAME = "{}"


def fill_templates(cache: Cache, class_names: Path, templates: Path) -> Path:
    """Write a TSV of prompts, ``synset, <languages>``: every name of a class in every template.

    Averaging a class over many prompts is what CLIP's authors do (Radford et al., 2021, section 3.1.4).

    Args:
        cache: Cache of the TSV.
        class_names: TSV with a header ``synset`` and language codes; one or more rows per class. An article
            belongs to the name: ``un pez``.
        templates: TSV with a header of the same language codes; each cell holds ``{}`` once.

    Raises:
        InputError: A file cannot be read, or its columns, cells or placeholders are wrong.
    """
    (first, *languages), *names = _table(class_names)
    if first != SYNSET or not languages:
        raise InputError(
            f"{class_names}, line 1: the header must be 'synset' and language codes, separated by tabs"
        )
    header, *frames = _table(templates)
    if sorted(header) != sorted(languages):
        raise InputError(
            f"{templates}, line 1: the header must be the language codes of {class_names.name}, "
            f"{', '.join(languages)}, got {', '.join(header)}"
        )
    if not frames:
        raise InputError(f"{templates}: must contain at least one row of templates, got none")
    for number, frame in enumerate(frames, start=2):
        for cell in frame:
            if cell.count(NAME) != 1:
                raise InputError(
                    f"{templates}, line {number}: a template must contain {{}} once, got {cell!r}"
                )
    order = [header.index(language) for language in languages]
    lines = ["\t".join([SYNSET, *languages])]
    for synset, *of_class in names:
        for frame in frames:
            prompts = [frame[i].replace(NAME, name) for i, name in zip(order, of_class, strict=True)]
            lines.append("\t".join([synset, *prompts]))
    return _kept(cache, lines)


def translate_prompts(cache: Cache, mapping: Path, language: str, translator: str, device: str) -> Path:
    """Write a TSV of prompts, ``synset, en, <language>``: `PROMPT` of the classes' first names, translated.

    Args:
        cache: Cache of the TSV.
        mapping: ImageNet's ``LOC_synset_mapping.txt``.
        language: Target language of the translation.
        translator: Marian model from English, hub name or folder.
        device: Device of the translator.

    Raises:
        InputError: The mapping or the model cannot be read.
    """
    names = read_synonyms(mapping)
    english = [PROMPT.format(synonyms[0]) for synonyms in names.values()]
    load = partial(Translator.load, translator, device, language)
    translated = translations(cache, translator, english, language, load)
    lines = [f"{SYNSET}\t{ENGLISH}\t{language}"]
    lines += ["\t".join(row) for row in zip(names, english, translated, strict=True)]
    return _kept(cache, lines)


def _kept(cache: Cache, lines: list[str]) -> Path:
    def build(folder: Path) -> None:
        (folder / "prompts.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")

    return cache.entry("prompts", lines, build) / "prompts.tsv"


def _table(path: Path) -> list[list[str]]:
    """Read the cells of a TSV with equally long rows and no empty cell."""
    rows = [[cell.strip() for cell in line.split("\t")] for line in read_lines(path)]
    for number, row in enumerate(rows, start=1):
        if len(row) != len(rows[0]) or any(map(is_blank, row)):
            raise InputError(
                f"{path}, line {number}: must have {len(rows[0])} columns, none empty, got {', '.join(row)!r}"
            )
    return rows
