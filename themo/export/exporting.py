"""The export of a version: files and model card, written to a folder."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from themo.export import FORMATS, onnx_format
from themo.export.backbone_files import round_backbone
from themo.export.card_examples import example_vectors
from themo.export.folders import refuse_taken, whole_folder
from themo.export.model_card import Card
from themo.export.quality import Quality, Sentences
from themo.export.refusals import refuse_options
from themo.export.request import Request
from themo.export.source import Source
from themo.files.atomic import write_text
from themo.models.table_folders import is_table
from themo.models.tokens import Tokenizer, uncomposed_tokens
from themo.process.progress import waiting


@dataclass(frozen=True)
class Export:
    """The result of an export.

    Attributes:
        folder: Folder of the files.
        format: One of `FORMATS`.
        dimension: Length of the vectors.
        notes: Deviations from the student, for the card.
        int8: Loss of the 8-bit graph; None without one.
    """

    folder: Path
    format: str
    dimension: int
    notes: list[str]
    int8: Quality | None = None


def export_version(
    source: Source,
    format_name: str,
    output: Path,
    *,
    int8: bool = False,
    bf16: bool = False,
    sentences: Path | None = None,
    repository: str | None = None,
) -> Export:
    """Write a version in a format of another tool, with its card, atomically.

    Args:
        source: The version.
        format_name: One of `FORMATS`.
        output: A folder, empty or new.
        int8: Also write an 8-bit graph; only for ``onnx``.
        bf16: Store the backbone's weights in bfloat16; only for ``transformers`` and
            ``sentence-transformers``.
        sentences: File of sentences for measuring the loss of 8 bits, or for distilling a static table; None:
            the version's validation or training pairs.
        repository: Hub repository of the export; None: not published.

    Raises:
        InputError: The format cannot hold the student, `output` is not empty, or a needed file or package is
            missing.
    """
    refuse_options(format_name, int8, sentences, repository, bf16)
    refuse_taken(output)
    module = import_module(f"themo.export.{FORMATS[format_name]}")
    if hasattr(module, "refuse"):
        module.refuse(source)
    request = Request(source, output, sentences, repository)
    measured_on = None
    if int8:
        measured_on = Sentences.of_file(sentences, source) if sentences else Sentences.of_validation(source)
    quality = None
    with whole_folder(output) as folder, waiting(f"Writing {format_name}"):
        notes = module.write(folder, request)
        if bf16:
            notes = [*notes, round_backbone(folder)]
        if measured_on is not None:
            quality, words = onnx_format.write_int8(folder, measured_on)
            notes += words
        if not is_table(folder):  # a table's tokenizer is not the student's
            notes += _of_tokenizer(source.tokenizer)
        card = Card(
            source,
            module.LIBRARY,
            module.TASK,
            module.usage(request),
            notes,
            normalized=module.NORMALIZED,
            is_table=is_table(folder),
            repository=repository,
            vectors_NE=example_vectors(folder, source),
        )
        write_text(folder / "README.md", card.render())
    return Export(output, format_name, source.student.head.dimension, notes, quality)


def _of_tokenizer(tokenizer: Tokenizer) -> list[str]:
    """Return the card's note on texts that the exported tokenizer does not read in canonical form."""
    tokens = uncomposed_tokens(tokenizer)
    if not tokens:
        return []
    return [
        "The tokenizer composes letters and accents that come as separate code points (Unicode NFC), but "
        f"only after it looks for its added tokens, such as {tokens[0]!r}: give it texts in NFC "
        '(`unicodedata.normalize("NFC", text)`).'
    ]
