"""The teacher, CLIP through open_clip: its text tower for training, its image tower for tests.

Shape suffixes: N texts or images, L tokens of a text, W width of the text tower, E dimensions of the shared
image and text space.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from torch import Tensor, nn
from torch.nn import functional

from themo.errors import InputError, reason_of
from themo.fetching.hub import ENDPOINT
from themo.files.weights import refuse_code
from themo.models.by_length import batches_by_length
from themo.models.cropping import crop_first
from themo.models.images import Picture, load_batches
from themo.models.normal_form import canonical
from themo.models.teacher_names import Target, fingerprint, hub_repository
from themo.process.progress import track

TEXT_BATCH = 256
IMAGE_BATCH = 128


class Teacher:
    """A frozen CLIP.

    Build one with `Teacher.load`.

    Attributes:
        model: The open_clip model in eval mode.
        fingerprint: Digest of architecture and weights, the teacher's part of cache keys.
        transform: open_clip's own image transform of this model, with the crop before the resize.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Callable[[Sequence[str]], Tensor],
        transform: Callable[[Any], Tensor],
        fingerprint: str,
    ) -> None:
        self.model: Any = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.transform = crop_first(transform)
        self.fingerprint = fingerprint
        self._tower = _TextTower(model)

    @classmethod
    def load(cls, architecture: str, pretrained: str | None = None, device: str = "cpu") -> Teacher:
        """Load an open_clip model with its weights, tokenizer and image transform.

        Args:
            architecture: Model name, ``hf-hub:`` or ``local-dir:`` address, or a folder with
                ``open_clip_config.json`` and weights. A tokenizer's ``bpe_path`` in that file may be relative
                to the folder, so that the folder can be moved.
            pretrained: Tag of open_clip or a weights file.
            device: Device of the model.

        Raises:
            InputError: The model or its weights are unknown or damaged.
        """
        name, tokenizer_options = _locate(architecture)
        root = logging.getLogger()
        level = root.level
        try:
            root.setLevel(logging.WARNING)
            root.addFilter(_is_no_error)  # open_clip also raises what it logs as an error
            tokenizer_options |= _without_code(open_clip.get_model_config(name))
            model, _, transform = open_clip.create_model_and_transforms(
                name, pretrained=pretrained, device=device, require_pretrained=True, weights_only=True
            )
            tokenizer = open_clip.get_tokenizer(name, **tokenizer_options)
        except Exception as error:  # open_clip, safetensors, torch and gzip raise different errors
            refuse_code(error, f"teacher.architecture {architecture}", "its weights")
            reason = reason_of(error)
            if hub_repository(architecture, pretrained) is not None:
                reason += f"; it comes from {ENDPOINT}: check the network, or give a folder that contains it"
            raise InputError(f"teacher.architecture {architecture}: cannot be loaded: {reason}") from error
        finally:
            root.removeFilter(_is_no_error)
            root.setLevel(level)
        return cls(model, tokenizer, transform, fingerprint(architecture, pretrained))

    def encode_texts(
        self,
        texts: Sequence[str],
        target: Target = "embedding",
        trim: bool = True,
        what: str = "English texts",
    ) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Encode texts, which are English unless the teacher is tested on others.

        Args:
            texts: N texts, read in canonical form; longer ones are cut to the context by open_clip.
            target: ``"state"``, (N, W): the end-of-text state after the last layer norm, before the text
                projection; ``"embedding"``, (N, E): after it, as CLIP compares it with images, any length;
                ``"unit"``, (N, E): the embedding scaled to length 1.
            trim: Cut the padding of a batch for a causal tower. The vectors stay the same, since the
                end-of-text state does not depend on later tokens. False only for measuring that.
            what: Name of the texts, for the progress.

        Returns:
            float32 array in the order of `texts`.
        """
        width = self.dimension(target)
        vectors = np.empty((len(texts), width), dtype=np.float32)
        with track(f"Encoding {what}", len(texts), "texts") as advance, torch.inference_mode():
            for chosen in batches_by_length([len(text) for text in texts], TEXT_BATCH, advance):
                ids_NL = self.tokenizer([canonical(texts[i]) for i in chosen]).to(self.device)
                states_NW = self._tower.states(ids_NL, trim)
                out = (states_NW if target == "state" else self._tower.project(states_NW)).float()
                if target == "unit":
                    out = functional.normalize(out, dim=1)
                vectors[chosen] = out.cpu().numpy()
        return vectors

    def to_image_space(self, vectors: Tensor, target: Target) -> Tensor:
        """Map a student's vectors, (N, W) or (N, E), to image space: (N, E), length 1."""
        embeddings = self._tower.project(vectors.to(self.device)) if target == "state" else vectors
        return functional.normalize(embeddings.float().cpu(), dim=1)

    def text_projection(self) -> Tensor:
        """Return the affine map from text states to embeddings, (W + 1, E) float32, bias last."""
        inputs = torch.cat([torch.eye(self._tower.width), torch.zeros(1, self._tower.width)])
        rows = self._tower.project(inputs.to(self.device)).float().cpu()
        return torch.cat([rows[:-1] - rows[-1], rows[-1:]])

    def encode_images(self, pictures: Sequence[Picture], workers: int | None = None) -> Tensor:
        """Encode images: (N, E) float32 of length 1, in the order of `pictures`.

        Raises:
            InputError: A file is no image or damaged.
        """
        parts = [torch.empty(0, self.dimension("embedding"))]
        with track("Encoding images", len(pictures), "images") as advance:
            for images_N3HW in load_batches(pictures, self.transform, IMAGE_BATCH, workers=workers):
                parts.append(self.encode_pixels(images_N3HW))
                advance(len(images_N3HW))
        return torch.cat(parts)

    @torch.inference_mode()
    def encode_pixels(self, images_N3HW: Tensor) -> Tensor:
        """Encode images after `transform`: (N, E) float32 of length 1 on the CPU."""
        vectors: Tensor = self.model.encode_image(images_N3HW.to(self.device), normalize=True)
        return vectors.float().cpu()

    def dimension(self, target: Target) -> int:
        """Return the length of a target vector."""
        return self._tower.width if target == "state" else self._tower.embedding_width

    @property
    def logit_scale(self) -> float:
        """Factor of the cosines in the softmax of the teacher's contrastive training."""
        return float(self.model.logit_scale.exp())

    @property
    def device(self) -> torch.device:
        """Device of the model."""
        device: torch.device = next(self.model.parameters()).device
        return device


class _TextTower:
    """The text tower up to the projection, in either of open_clip's layouts."""

    def __init__(self, model: Any) -> None:
        self.tower: Any = model.text if isinstance(getattr(model, "text", None), nn.Module) else model
        tower = self.tower
        self._encode: Callable[[Tensor], Any] = tower if tower is not model else model.encode_text
        if getattr(tower, "text_projection", None) is None or not hasattr(tower, "token_embedding"):
            raise InputError(
                "teacher.architecture: must have a CLIP text transformer with a projection, "
                f"got {type(tower).__name__}"
            )
        self.pool_type: str = getattr(tower, "text_pool_type", None) or tower.pool_type
        self.eos_id: int | None = getattr(tower, "text_eos_id", None) or getattr(tower, "eos_id", None)
        self.is_causal = (
            tower.attn_mask is not None
            and self.pool_type in ("argmax", "eos")
            and getattr(tower, "cls_emb", None) is None
        )
        self.width: int = tower.ln_final.weight.shape[0]
        projection = tower.text_projection
        linear = isinstance(projection, nn.Linear)
        self.embedding_width: int = projection.out_features if linear else projection.shape[1]

    def project(self, states: Tensor) -> Tensor:
        projection = self.tower.text_projection
        if isinstance(projection, nn.Linear):
            projected: Tensor = projection(states.to(projection.weight.dtype))
        else:
            projected = states.to(projection.dtype) @ projection
        return projected

    def states(self, ids_NL: Tensor, trim: bool) -> Tensor:
        if not self.is_causal:
            return self._states_by_open_clip(ids_NL)
        ends_N = self._end_of_text(ids_NL)
        if trim:
            ids_NL = ids_NL[:, : int(ends_N.max()) + 1]
        tower, length = self.tower, ids_NL.shape[1]
        dtype = tower.transformer.get_cast_dtype()
        x = tower.token_embedding(ids_NL).to(dtype) + tower.positional_embedding[:length].to(dtype)
        x = tower.transformer(x, attn_mask=tower.attn_mask[:length, :length])
        states_NW: Tensor = tower.ln_final(x[torch.arange(len(x), device=x.device), ends_N])
        return states_NW

    def _end_of_text(self, ids_NL: Tensor) -> Tensor:
        # like open_clip's text_global_pool: the highest id of a text, or the first end-of-text id
        if self.pool_type == "argmax":
            return ids_NL.argmax(dim=1)
        return torch.eq(ids_NL, self.eos_id).int().argmax(dim=1)  # type: ignore[arg-type]

    def _states_by_open_clip(self, ids_NL: Tensor) -> Tensor:
        projection, self.tower.text_projection = self.tower.text_projection, None
        try:
            out = self._encode(ids_NL)
        finally:
            self.tower.text_projection = projection
        states_NW: Tensor = out[0] if isinstance(out, tuple) else out
        return states_NW


def _without_code(config: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return tokenizer options with which transformers never runs code of the model's files.

    Without them, transformers asks on standard input, and ``tokenizer_kwargs`` of the files could agree.

    Raises:
        ValueError: The text tower is one of transformers', for which open_clip has no such option, and which
            `_TextTower` could not read.
    """
    text = (config or {}).get("text_cfg", {})
    if text.get("hf_model_name"):
        raise ValueError(
            "must have a CLIP text transformer with a projection, got transformers' "
            f"{text['hf_model_name']!r} as text tower"
        )
    return {"trust_remote_code": False} if text.get("hf_tokenizer_name") else {}


def _is_no_error(record: logging.LogRecord) -> bool:
    return record.levelno < logging.ERROR


def model_config(architecture: str) -> dict[str, Any]:
    """Return open_clip's description of a loaded model: ``embed_dim``, ``vision_cfg``, ``text_cfg``."""
    config: dict[str, Any] = open_clip.get_model_config(_locate(architecture)[0])
    return config


def _locate(architecture: str) -> tuple[str, dict[str, Any]]:
    """Return open_clip's name of a model, and tokenizer options that its config cannot hold."""
    folder = Path(architecture.removeprefix("local-dir:"))
    if not folder.is_dir():
        return architecture, {}
    config = folder / "open_clip_config.json"
    try:
        text = json.loads(config.read_text(encoding="utf-8"))["model_cfg"]["text_cfg"]
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{config}: must be open_clip's description of a model, with model_cfg") from None
    bpe_path = text.get("tokenizer_kwargs", {}).get("bpe_path")
    options: dict[str, Any] = (
        {"bpe_path": str(folder / bpe_path)} if bpe_path and not Path(bpe_path).is_absolute() else {}
    )
    return f"local-dir:{folder}", options
