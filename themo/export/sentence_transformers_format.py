"""sentence-transformers: Transformer, Pooling, a LayerNorm if the student has one, and Dense.

These modules hold every student unchanged. The files are written without the library.
"""

from __future__ import annotations

import json
from pathlib import Path

from themo.export.backbone_files import has_pooler, write_backbone, write_tensors
from themo.export.request import Request

LIBRARY = "sentence-transformers"
TASK = "sentence-similarity"
NORMALIZED = False


def write(folder: Path, request: Request) -> list[str]:
    """Write the files; return notes on deviations for the card."""
    student = request.source.student
    head, projection = student.head, student.projection
    width = projection.in_features
    write_backbone(folder, student, request.source.tokenizer)
    transformer: dict[str, object] = {"max_seq_length": head.max_length, "do_lower_case": False}
    if has_pooler(student):
        transformer["model_args"] = {"add_pooling_layer": False}
    _write_json(folder / "sentence_bert_config.json", transformer)
    _write_json(folder / "config_sentence_transformers.json", {"prompts": {}, "similarity_fn_name": "cosine"})
    modules = ["Transformer", "Pooling", *(["LayerNorm"] if head.last_layer_norm else []), "Dense"]
    places = {name: f"{i}_{name}" if i else "" for i, name in enumerate(modules)}
    _write_json(
        folder / "modules.json",
        [
            # module names of every release since the first
            {"idx": i, "name": str(i), "path": places[name], "type": f"sentence_transformers.models.{name}"}
            for i, name in enumerate(modules)
        ],
    )
    _write_json(
        folder / places["Pooling"] / "config.json",
        {
            "word_embedding_dimension": width,
            "pooling_mode_cls_token": head.pooling == "first",
            "pooling_mode_mean_tokens": head.pooling == "mean",
            "pooling_mode_max_tokens": False,
            "pooling_mode_mean_sqrt_len_tokens": False,
        },
    )
    if head.last_layer_norm:
        _write_json(folder / places["LayerNorm"] / "config.json", {"dimension": width})
        _write_weights(folder / places["LayerNorm"], "norm", student.layer_norm.state_dict())
    _write_json(
        folder / places["Dense"] / "config.json",
        {
            "in_features": width,
            "out_features": head.dimension,
            "bias": head.projection_bias,
            "activation_function": "torch.nn.modules.linear.Identity",
        },
    )
    _write_weights(folder / places["Dense"], "linear", projection.state_dict())
    return ["The last layer norm is a module `LayerNorm` of its own."] if head.last_layer_norm else []


def usage(_request: Request) -> str:
    """Return the card's lines of code."""
    return """\
```python
from sentence_transformers import SentenceTransformer

<place>
model = SentenceTransformer(place)
<sentences>
vectors = model.encode(sentences)
print(model.similarity(vectors, vectors))
```
"""


def _write_weights(folder: Path, layer: str, tensors: dict[str, object]) -> None:
    write_tensors(folder / "model.safetensors", {f"{layer}.{name}": t for name, t in tensors.items()})  # type: ignore[misc]


def _write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")
