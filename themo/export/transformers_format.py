"""transformers: an ordinary folder of backbone and tokenizer, and the head in a file of its own.

No class of transformers pools and projects as a student does, so `AutoModel` gives token states and the
card's code applies ``head.safetensors``.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from themo.export.backbone_files import has_pooler, write_backbone, write_tensors
from themo.export.request import Request

LIBRARY = "transformers"
TASK = "feature-extraction"
NORMALIZED = False


def write(folder: Path, request: Request) -> list[str]:
    """Write the files; return notes on deviations for the card."""
    student = request.source.student
    write_backbone(folder, student, request.source.tokenizer)
    head = {name: t for name, t in student.state_dict().items() if not name.startswith("backbone.")}
    write_tensors(folder / "head.safetensors", head)
    (folder / "head.json").write_text(json.dumps(asdict(student.head), indent=1), encoding="utf-8")
    return [
        "No class of transformers pools and projects as this encoder does: `AutoModel` gives the states of "
        "tokens, and `head.safetensors` holds the rest, which the lines of `README.md` apply."
    ]


def usage(request: Request) -> str:
    """Return the card's lines of code."""
    student = request.source.student
    head = student.head
    if head.pooling == "mean":
        pooling = (
            'mask = batch["attention_mask"].unsqueeze(2)\npooled = (states * mask).sum(1) / mask.sum(1)\n'
        )
    else:
        pooling = "pooled = states[:, 0]\n"
    if head.last_layer_norm:
        pooling += (
            'norm = [head[f"layer_norm.{name}"] for name in ("weight", "bias")]\n'
            "pooled = torch.layer_norm(pooled, pooled.shape[-1:], *norm)\n"
        )
    no_pooler = ", add_pooling_layer=False" if has_pooler(student) else ""
    bias = ' + head["projection.bias"]' if head.projection_bias else ""
    return f"""\
```python
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

<place>
tokenizer = AutoTokenizer.from_pretrained(place)
model = AutoModel.from_pretrained(place{no_pooler})
head = load_file(f"{{place}}/head.safetensors")
<sentences>
batch = tokenizer(sentences, padding=True, truncation=True, return_tensors="pt")
with torch.inference_mode():
    states = model(**batch).last_hidden_state
{pooling}\
vectors = pooled @ head["projection.weight"].T{bias}
```
"""
