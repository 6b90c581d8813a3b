"""Pictures and captions on disk in the layouts of MSCOCO with XTD10, and of ImageNet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

IMAGES_PER_VALIDATION_IMAGE = 5
"""Every fifth picture is in `val2014`, the others in `train2014`, as in XTD10."""


def write_retrieval_set(
    folder: Path,
    pictures: NDArray[np.uint8],
    english: Sequence[str],
    spanish: Sequence[str],
    advance: Callable[..., None],
) -> None:
    """Write pictures in MSCOCO's layout and captions in XTD10's.

    Args:
        folder: Gets `mscoco/{train2014,val2014}/COCO_..._000000000001.jpg` and `xtd10/*.txt`, one line each.
        pictures: (N, height, width, 3) uint8.
        english: N captions.
        spanish: N captions.
        advance: Called with 1 for every picture written.
    """
    captions, images = folder / "xtd10", folder / "mscoco"
    captions.mkdir(parents=True)
    names = []
    for number, picture in enumerate(pictures, start=1):
        part = "train2014" if number % IMAGES_PER_VALIDATION_IMAGE else "val2014"
        names.append(f"COCO_{part}_{number:012}.jpg")
        path = images / part / names[-1]
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_jpeg(path, picture)
        advance(1)
    _write_lines(captions / "test_image_names.txt", names)
    _write_lines(captions / "test_1kcaptions_en.txt", english)
    _write_lines(captions / "test_1kcaptions_es.txt", spanish)


def write_classification_set(
    folder: Path,
    pictures: NDArray[np.uint8],
    classes: NDArray[np.int64],
    boxes: NDArray[np.int64],
    names: Sequence[Sequence[str]],
    prompts: Sequence[tuple[Sequence[str], Sequence[str]]],
    advance: Callable[..., None],
) -> None:
    """Write pictures in the layout of ImageNet's validation part in its localisation challenge.

    Args:
        folder: Gets `ILSVRC/`, `LOC_synset_mapping.txt`, `LOC_val_solution.csv` and `prompts.tsv`.
        pictures: (N, height, width, 3) uint8.
        classes: (N,) int64.
        boxes: (N, 4) int64, the one object in each picture: first and last column and row, as x0, y0, x1, y1.
        names: The names of each class, the most usual one first.
        prompts: The sentences of each class in English and as many in Spanish.
        advance: Called with 1 for every picture written.
    """
    images = folder / "ILSVRC" / "Data" / "CLS-LOC" / "val"
    annotations = folder / "ILSVRC" / "Annotations" / "CLS-LOC" / "val"
    images.mkdir(parents=True)
    annotations.mkdir(parents=True)
    synsets = [f"n9{number:07}" for number in range(1, len(names) + 1)]
    solution = ["ImageId,PredictionString"]
    for number, picture in enumerate(pictures, start=1):
        name = f"ILSVRC2012_val_{number:08}"
        synset, box = synsets[classes[number - 1]], boxes[number - 1]
        _write_jpeg(images / f"{name}.JPEG", picture)
        annotation = _annotation(name, synset, picture.shape[1], picture.shape[0], box)
        (annotations / f"{name}.xml").write_text(annotation, encoding="utf-8")
        solution.append(f"{name},{synset} {' '.join(map(str, box))} ")
        advance(1)
    _write_lines(folder / "LOC_val_solution.csv", solution)
    _write_lines(
        folder / "LOC_synset_mapping.txt",
        [f"{synset} {', '.join(words)}" for synset, words in zip(synsets, names, strict=True)],
    )
    rows = [
        f"{synset}\t{english}\t{spanish}"
        for synset, sentences in zip(synsets, prompts, strict=True)
        for english, spanish in zip(*sentences, strict=True)
    ]
    _write_lines(folder / "prompts.tsv", ["synset\ten\tes", *rows])


def write_pairs(path: Path, pairs: Sequence[tuple[str, str]]) -> None:
    """Write (English, Spanish) sentence pairs as tab-separated text with a header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _write_lines(path, ["en\tes", *(f"{english}\t{spanish}" for english, spanish in pairs)])


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)


def _write_jpeg(path: Path, picture: NDArray[np.uint8]) -> None:
    # full chroma resolution: the usual halving blurs the colours of small objects
    Image.fromarray(picture).save(path, format="JPEG", quality=95, subsampling=0)


def _annotation(name: str, synset: str, width: int, height: int, box: NDArray[np.int64]) -> str:
    x0, y0, x1, y1 = box
    return f"""<annotation>
\t<folder>val</folder>
\t<filename>{name}</filename>
\t<source>
\t\t<database>ILSVRC_2012</database>
\t</source>
\t<size>
\t\t<width>{width}</width>
\t\t<height>{height}</height>
\t\t<depth>3</depth>
\t</size>
\t<segmented>0</segmented>
\t<object>
\t\t<name>{synset}</name>
\t\t<pose>Unspecified</pose>
\t\t<truncated>0</truncated>
\t\t<difficult>0</difficult>
\t\t<bndbox>
\t\t\t<xmin>{x0}</xmin>
\t\t\t<ymin>{y0}</ymin>
\t\t\t<xmax>{x1}</xmax>
\t\t\t<ymax>{y1}</ymax>
\t\t</bndbox>
\t</object>
</annotation>
"""
