#!/usr/bin/env bash
# clip_benchmark 1.6.2: Crossmodal-3600 is scored with the first caption of each image; the other captions are ignored.
#
# Expected: every caption of the file is a query, as for clip_benchmark's other sets with several captions per image
#   (Flickr30k), and as big_vision and MTEB score Crossmodal-3600.
# Behaviour: the captions of a language are a list, two for most images. `create_annotation_file` writes the first and
#   drops the rest without a message. Text to image has half of the queries. Image to text counts an image as correct
#   only by its first caption. In this script a model knows the second caption of each image. Its image-to-text recall
#   is 0 with the captions that clip_benchmark reads, and 1 with clip_benchmark's own metric over all captions.
# Output seen:
#   captions in the file: 6; captions that are scored: 3
#   text_retrieval_recall@1 over the first captions 0.00, over all captions 1.00
#
# Exits 0 while the behaviour is as described, 1 once it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet clip_benchmark==1.6.2 torch==2.14.0 torchvision==0.29.2
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import json
import sys
from pathlib import Path

import torch
from clip_benchmark.datasets.crossmodal3600 import Crossmodal3600, create_annotation_file
from clip_benchmark.metrics.zeroshot_retrieval import evaluate
from PIL import Image

# The layout of the published files: one line per image, with a list of captions per language.
CAPTIONS = {
    "a": ["un perro", "perro en la playa"],
    "b": ["un gato", "gato en el sofá"],
    "c": ["una casa", "casa con jardín"],
}
images = Path("xm3600", "images")
images.mkdir(parents=True)
with Path("xm3600", "captions.jsonl").open("w", encoding="utf-8") as file:
    for shade, (key, captions) in enumerate(CAPTIONS.items()):
        Image.new("RGB", (4, 4), (shade, shade, shade)).save(images / f"{key}.jpg")
        file.write(json.dumps({"image/key": key, "es": {"caption": captions}}) + "\n")

SCORED = Path("crossmodal3600_captions-es.json")
create_annotation_file(".", "es")
pairs = Crossmodal3600(".", str(SCORED))
scored = [caption for _, captions in pairs for caption in captions]
n_captions = sum(map(len, CAPTIONS.values()))
print(f"captions in the file: {n_captions}; captions that are scored: {len(scored)}")


class Model:
    """Matches second captions to their image, and each first caption to the next image with a lower score."""

    def encode_image(self, numbers: torch.Tensor) -> torch.Tensor:
        return torch.eye(3)[numbers]

    def encode_text(self, places: torch.Tensor) -> torch.Tensor:
        image, caption = places.T
        vectors = torch.eye(3)[(image + (caption == 0)) % 3]
        return vectors + (caption == 0)[:, None] * 0.1 * torch.ones(3)


def tokenize(texts: list[str]) -> torch.Tensor:
    return torch.tensor([(i, all.index(t)) for t in texts for i, all in enumerate(CAPTIONS.values()) if t in all])


def recall(captions: list[list[str]]) -> float:
    loader = [(torch.arange(3), captions)]
    return evaluate(Model(), loader, tokenize, "cpu", amp=False, recall_k_list=[1])["text_retrieval_recall@1"]


first, every = recall([captions for _, captions in pairs]), recall(list(CAPTIONS.values()))
print(f"text_retrieval_recall@1 over the first captions {first:.2f}, over all captions {every:.2f}")
sys.exit(not (len(scored) == 3 and n_captions == 6 and first == 0 and every == 1))
PY
