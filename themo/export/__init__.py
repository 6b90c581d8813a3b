"""Exports: a student in the formats of other tools, a module each.

A module of a format says in ``LIBRARY`` and ``TASK`` what the hub calls it, refuses in ``refuse(source)``
what it cannot hold, writes its files in ``write(folder, source, ...)``, which returns what is held otherwise
than one may expect, and gives in ``usage(student, repository)`` the lines of the card that use it.
"""

from __future__ import annotations

FORMATS = {
    "transformers": "transformers_format",
    "sentence-transformers": "sentence_transformers_format",
    "open_clip": "open_clip_format",
    "onnx": "onnx_format",
    "mlflow": "mlflow_format",
}
"""Names of the formats, and the modules that write them."""
