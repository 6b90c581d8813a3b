"""BERT's configuration and tokenizer in the cache: only the first process reads them by transformers."""

from __future__ import annotations

from functools import partial
from importlib.metadata import version
from pathlib import Path

from themo.files.cache import Cache, digest_file
from themo.models.backbones import load_config
from themo.models.bert_files import CONFIG, plain_config, plain_tokenizer, write_config
from themo.models.tokens import Tokenizer

_READ_BY_TRANSFORMERS = (".json", ".txt", ".model", ".jinja")
"""Suffixes of the files of configurations and tokenizers."""


def plain_backbone(cache: Cache, backbone: str) -> str:
    """Return a folder whose configuration and tokenizer are the backbone's and need no transformers.

    It has no weights. A backbone that is not BERT, or whose tokenizer would not be equal, is returned itself.

    Args:
        cache: Cache of the folder.
        backbone: Folder of the backbone.

    Raises:
        InputError: The backbone has no usable configuration or tokenizer.
    """
    files = sorted(path for path in Path(backbone).iterdir() if path.suffix in _READ_BY_TRANSFORMERS)
    key = {
        "files": [[path.name, digest_file(path)] for path in files if path.is_file()],
        "libraries": [version("transformers"), version("tokenizers")],
    }
    folder = cache.entry("backbone", key, partial(_write, backbone))
    return str(folder) if (folder / CONFIG).is_file() else backbone


def _write(backbone: str, folder: Path) -> None:
    """Write configuration and tokenizer; nothing where they would need transformers."""
    write_config(load_config(backbone), folder / CONFIG)
    tokenizer = Tokenizer.load(backbone)
    tokenizer.save(folder)
    if not _is_plain(folder, tokenizer):
        for path in folder.iterdir():
            path.unlink()


def _is_plain(folder: Path, tokenizer: Tokenizer) -> bool:
    if plain_config(folder) is None or plain_tokenizer(folder) is None:
        return False
    again = Tokenizer.load(str(folder))
    facts = [(one.fingerprint, one.pad_id, one.unknown_id, one.suffix) for one in (tokenizer, again)]
    return facts[0] == facts[1]
