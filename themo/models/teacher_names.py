"""Names of a teacher: how an architecture, and a file of its weights, are written in settings.

A run on prepared data reads the teacher's vectors alone, and does not wait for open_clip.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from themo.files.cache import digest, digest_file, digest_folder

Target = Literal["state", "embedding", "unit"]


def hub_repository(architecture: str, pretrained: str | None) -> str | None:
    """Repository of the Hugging Face hub that a teacher's weights come from, None if from elsewhere."""
    if architecture.startswith("hf-hub:"):
        return architecture.removeprefix("hf-hub:")
    if not pretrained:
        return None
    import open_clip  # seconds; only its table of tags knows

    tagged = open_clip.get_pretrained_cfg(architecture, pretrained)
    return str(tagged["hf_hub"]).rstrip("/") if tagged.get("hf_hub") else None


def fingerprint(architecture: str, pretrained: str | None) -> str:
    """Digest of what determines a teacher's numbers: names, and contents where they are local files."""
    folder = Path(architecture.removeprefix("local-dir:"))
    weights = Path(pretrained) if pretrained else None
    return digest(
        [
            digest_folder(folder) if folder.is_dir() else architecture,
            digest_file(weights) if weights and weights.is_file() else pretrained,
        ]
    )
