"""Exports of a student to the formats of other tools, one module per format.

A format's module has the hub's names of library and task in ``LIBRARY`` and ``TASK``, and in ``NORMALIZED``
whether its vectors have length 1. ``write(folder, request)`` writes the files and returns notes on deviations
for the card, and ``usage(request)`` returns the card's lines of code. A module whose format cannot hold every
student has ``refuse(source)``.
"""

from __future__ import annotations

FORMATS = {
    "transformers": "transformers_format",
    "sentence-transformers": "sentence_transformers_format",
    "open_clip": "open_clip_format",
    "onnx": "onnx_format",
    "openvino": "openvino_format",
    "mlflow": "mlflow_format",
    "immich": "immich_format",
    "static": "static_format",
}
"""Names and modules of the formats."""
