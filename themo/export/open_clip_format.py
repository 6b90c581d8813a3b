"""open_clip: a model whose image tower is the teacher's and whose text tower is the student.

The text tower is open_clip's `HFTextEncoder`: backbone, pooling, and a projection without bias. A student's
bias moves into the last layer norm (`without_bias`); students with a layer norm after pooling are refused.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from themo.data.sources import Sources
from themo.errors import InputError
from themo.export.backbone_files import write_config, write_tensors, write_tokenizer
from themo.export.request import Request
from themo.export.source import Source
from themo.models.backbones import longest_input
from themo.models.runtimes.encoder import LEAST_COSINE, PROBES
from themo.models.student import Student
from themo.models.teacher import model_config

LIBRARY = "open_clip"
TASK = "zero-shot-image-classification"
NORMALIZED = False
POOLERS = {"mean": "mean_pooler", "first": "cls_last_hidden_state_pooler"}
CHECKED = "3.3.0"
"""Release of open_clip that was checked for the types below."""
MODEL_TYPES = ("bert", "roberta", "xlm-roberta")
"""Types of transformers encoders that `HFTextEncoder` supports."""
COMING = {"modernbert": "4.1.0.dev0"}
"""Types that only a development version of open_clip (commit 4630c00) supports, with that version."""
_POSITIONS = "embeddings.position_embeddings.weight"


def refuse(source: Source) -> None:
    """Refuse students that the format cannot hold, before loading the teacher.

    Raises:
        InputError: The format cannot hold this student.
    """
    kind = str(source.trained.backbone.config.model_type)  # type: ignore[union-attr]
    reason = None
    if not source.has_teacher:
        reason = f"it was trained on data.targets {source.settings.data.targets}, which have no image tower"
    elif source.trained.head.last_layer_norm:
        reason = (
            "open_clip's text tower has no layer norm between pooling and projection "
            "(student.last_layer_norm); sentence-transformers and onnx support it"
        )
    elif kind not in MODEL_TYPES:
        later = f" (supported from open_clip {COMING[kind]} on)" if kind in COMING else ""
        reason = (
            f"the text tower of open_clip {CHECKED} supports {', '.join(MODEL_TYPES)}, got a backbone of "
            f"type {kind}{later}; sentence-transformers, onnx and openvino support it"
        )
    if reason is not None:
        raise InputError(f"--format open_clip cannot export {source.version}: {reason}")


def write(folder: Path, request: Request) -> list[str]:
    """Write the files; return notes on deviations for the card.

    Raises:
        InputError: The teacher has no image tower of its own, or the bias cannot be represented exactly
            enough.
    """
    source = request.source
    teacher, student = source.teacher, source.student
    notes = []
    if student.head.projection_bias:
        student = _checked(student, without_bias(student), source)
        notes.append(
            "open_clip's projection has no bias. This encoder's bias is moved into the shift of its last "
            "layer norm and the projection: a normalised state sums to zero, and shifted by one it sums to a "
            "constant that the projection turns into the bias. The vectors are the same."
        )
    config = model_config(Sources(source.settings).resolve(source.settings.teacher.architecture))
    if "multimodal_cfg" in config:
        raise InputError(
            f"--format open_clip cannot export {source.version}: its teacher "
            f"{source.settings.teacher.architecture} is a CoCa, whose text tower cannot be replaced"
        )
    n_positions = _positions_read(student)
    write_config(folder, student, source.tokenizer)
    _set_positions(folder / "config.json", n_positions)
    if n_positions > student.head.max_length:
        notes.append(
            f"The encoder reads {student.head.max_length} tokens, the length of open_clip's tokenizer output."
            f" Its positions start after the padding id, so the model's `context_length` is "
            f"{n_positions}."
        )
    write_tokenizer(folder, source.tokenizer, student.head.max_length)
    address = request.repository or str(request.output.absolute())  # where transformers finds `config.json`
    config["text_cfg"] = {
        "hf_model_name": address,
        "hf_tokenizer_name": address,
        "hf_model_pretrained": False,
        "hf_pooler_type": POOLERS[student.head.pooling],
        "hf_proj_type": "linear",
        "context_length": student.head.max_length,
    }
    visual = teacher.model.visual
    content = {"model_cfg": config, "preprocess_cfg": visual.preprocess_cfg}
    (folder / "open_clip_config.json").write_text(json.dumps(content, indent=2), encoding="utf-8")
    write_tensors(folder / "open_clip_model.safetensors", _weights(student, teacher.model, n_positions))
    return [
        *notes,
        "The image tower, its preprocessing and the temperature are the teacher's.",
        "open_clip's tokenizer cleans a text first (HTML entities, curly quotes): such "
        "texts are read slightly differently than by the encoder itself.",
    ]


def without_bias(student: Student) -> Student:
    """Return a student with the same vectors and no bias in its projection; its backbone is a copy.

    The backbone ends with a layer norm, x = n * gain + shift, and a normalised n sums to 0. So with the shift
    chosen such that sum(x / gain) = H, a matrix of rank one, u (1 / gain)^T / H, adds any constant u to the
    projection's output, pooled or not.
    """
    equal = copy.deepcopy(student)
    norm = equal.backbone.encoder.layer[-1].output.LayerNorm  # type: ignore[union-attr, index]
    gain, shift = norm.weight.double(), norm.bias.double()
    weight, bias = equal.projection.weight.double(), equal.projection.bias.double()
    step = 1 - (shift / gain).mean()
    constant = bias - step * (weight @ gain)
    projection = torch.nn.Linear(equal.projection.in_features, equal.projection.out_features, bias=False)
    with torch.no_grad():
        norm.bias.copy_(shift + step * gain)
        projection.weight.copy_(weight + torch.outer(constant, 1 / gain) / len(gain))
    equal.projection = projection
    return equal.eval()


def _checked(student: Student, equal: Student, source: Source) -> Student:
    """Return `equal` if its vectors equal those of `student`, else refuse."""
    vectors, same = (one.encode(source.tokenizer, PROBES) for one in (student, equal))
    cosine = functional.cosine_similarity(vectors, same).min().item()
    if not cosine >= LEAST_COSINE:
        raise InputError(
            f"--format open_clip cannot export {source.version}: open_clip's projection has no "
            f"bias (student.projection_bias); moved into the backbone's last layer norm, the bias changes "
            f"the vectors to a cosine of {cosine:.6f}, less than {LEAST_COSINE}; sentence-transformers and "
            "onnx support it"
        )
    return equal


def _positions_read(student: Student) -> int:
    """Count the rows of the position table that a text of `max_length` tokens uses.

    open_clip takes the table's length as the model's `context_length`, so unused rows are removed.
    """
    config: Any = student.backbone.config
    longest = longest_input(config) or student.head.max_length
    return int(config.max_position_embeddings - longest + student.head.max_length)


def _set_positions(path: Path, n_positions: int) -> None:
    config = json.loads(path.read_text(encoding="utf-8"))
    config["max_position_embeddings"] = n_positions
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _weights(student: Student, model: Any, n_positions: int) -> dict[str, Tensor]:
    parts: dict[str, Tensor] = {f"visual.{name}": t for name, t in model.visual.state_dict().items()}
    parts |= {f"text.transformer.{name}": t for name, t in student.backbone.state_dict().items()}
    positions = f"text.transformer.{_POSITIONS}"
    parts[positions] = parts[positions][:n_positions]
    parts["text.proj.weight"] = student.projection.weight
    for name in ("logit_scale", "logit_bias"):
        if getattr(model, name, None) is not None:
            parts[name] = getattr(model, name)
    return parts


def usage(request: Request) -> str:
    """Return the card's lines of code."""
    if request.repository is None:
        return _USAGE + _MOVED + _BENCHMARK.replace("<name>", "local-dir:.")
    name = f"hf-hub:{request.repository}"
    by_name = f"By its name, `{name}`, open_clip also finds model and tokenizer, and so does\n"
    return _USAGE + by_name + _BENCHMARK.replace("<name>", name)


_USAGE = """\
```python
import json
from pathlib import Path

import open_clip
import torch
from PIL import Image

<place>
config = json.loads(Path(place, "open_clip_config.json").read_text())
tower = config["model_cfg"]["text_cfg"] | {"hf_model_name": place}  # where the folder is now
model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{place}", text_cfg=tower)
tokenizer = open_clip.get_tokenizer(f"local-dir:{place}")
model.eval()
<sentences>
images = [Image.new("RGB", (224, 224), "red")]  # or Image.open("picture.jpg")
with torch.inference_mode():
    vectors = model.encode_text(tokenizer(sentences), normalize=True)
    pictures = model.encode_image(torch.stack([preprocess(image) for image in images]), normalize=True)
print(vectors @ pictures.T)
```

"""
_MOVED = """\
open_clip does not look for the text tower's `config.json` in the folder that `local-dir:` names, but where
`hf_model_name` in `open_clip_config.json` says: where the export was written. The lines above override it.
For programs that take only a name, such as CLIP_benchmark, write the path once after a move:

```python
import json
from pathlib import Path

path = Path("open_clip_config.json").resolve()
config = json.loads(path.read_text())
config["model_cfg"]["text_cfg"]["hf_model_name"] = str(path.parent)
path.write_text(json.dumps(config, indent=2))
```

From then on `local-dir:` alone is enough, also for
"""
_BENCHMARK = """\
[CLIP_benchmark](https://github.com/LAION-AI/CLIP_benchmark), whose `image_retrieval_recall` is recall from
text to image:

```console
clip_benchmark eval --model <name> --pretrained "" --dataset xtd10 --language es --dataset_root data \\
    --recall_k 1 5 10 --no_amp --output clip_benchmark.json
```
"""
