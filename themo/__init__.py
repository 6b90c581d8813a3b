"""Themo: a Spanish text encoder for CLIP, distilled from its English text tower.

Example::

    import themo

    model = themo.load("logs/miniature/version_3")
    texts = model.encode(["dos círculos rojos"])      # (1, D) float32, in the teacher's image space
    images = model.encode_images(["a.jpg", "b.jpg"])  # (2, D) float32, of length 1
    model.similarity(texts, images)                   # (1, 2) cosines
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from themo.errors import InputError

if TYPE_CHECKING:
    from themo.model import Model, load

__all__ = ["InputError", "Model", "load"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import names that need torch on first use, so that ``import themo`` is fast."""
    if name in ("Model", "load"):
        from themo import model

        return getattr(model, name)
    raise AttributeError(f"module 'themo' has no attribute {name!r}")
