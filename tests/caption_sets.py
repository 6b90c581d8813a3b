"""Crossmodal-3600 and xFlickr&CO of a few pictures of noise, in the published layouts."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from tiny import sentence_pairs, write_lines, write_picture


def write_json_lines(path: Path, entries: Iterable[dict[str, Any]]) -> Path:
    return write_lines(path, [json.dumps(entry, ensure_ascii=False) for entry in entries])


def crossmodal_entries(n: int) -> list[dict[str, Any]]:
    """Entries of `n` images: two Spanish captions each, and one English caption."""
    pairs = sentence_pairs()
    return [
        {
            "image/key": f"{i:016x}",
            "image/locale": "ar",
            "en": _forms([pairs[7 * i][0]]),
            "es": _forms([pairs[7 * i][1], pairs[7 * i + 3][1]]),
        }
        for i in range(n)
    ]


def _forms(captions: list[str]) -> dict[str, list[str]]:
    return {
        "caption": captions,
        "caption/tokenized": captions,
        "caption/tokenized/lowercase": [caption.lower() for caption in captions],
    }


def write_crossmodal(folder: Path, n: int) -> dict[str, str]:
    """Write `n` images and their captions; return the settings that name them."""
    entries = crossmodal_entries(n)
    write_json_lines(folder / "xm3600" / "captions.jsonl", entries)
    random = np.random.default_rng(2)
    for entry in entries:
        write_picture(folder / "xm3600" / "images" / f"{entry['image/key']}.jpg", random)
    return {
        "xm3600_captions": str(folder / "xm3600"),
        "xm3600_images": str(folder / "xm3600" / "images"),
    }


def xflickrco_entries(language: str, n: int) -> list[dict[str, Any]]:
    """Entries of `n` images, of MSCOCO from the second half on."""
    side = ("en", "es").index(language)
    chosen = [sentence_pairs()[9 * i + 1][side] for i in range(n)]
    numbers = [1000 + i for i in range(n)]
    names = [f"{k}.jpg" if i < n // 2 else f"COCO_val2014_{k:012d}.jpg" for i, k in enumerate(numbers)]
    return [
        {"sentences": [text], "id": str(k), "img_path": name}
        for text, k, name in zip(chosen, numbers, names, strict=True)
    ]


def write_xflickrco(folder: Path, n: int) -> dict[str, str]:
    """Write `n` images, half of them in ``val2014/``, and their captions; return the settings."""
    random = np.random.default_rng(3)
    for language in ("en", "es"):
        entries = xflickrco_entries(language, n)
        write_json_lines(folder / "xflickrco" / language / "test.jsonl", entries)
    for entry in entries:
        part = "val2014" if entry["img_path"].startswith("COCO") else "flickr30k-images"
        write_picture(folder / "xflickrco-images" / part / entry["img_path"], random)
    return {
        "xflickrco_captions": str(folder / "xflickrco"),
        "xflickrco_images": str(folder / "xflickrco-images"),
    }
