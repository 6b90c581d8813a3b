"""OpenVINO: the layout of sentence-transformers, its backbone as a graph of OpenVINO.

`SentenceTransformer(folder, backend="openvino")` reads it with the package optimum-intel. Pooling and
projection stay modules of sentence-transformers.
"""

from __future__ import annotations

from pathlib import Path

from themo.export import sentence_transformers_format
from themo.export.onnx_graph import refuse_graph
from themo.export.request import Request
from themo.export.source import Source
from themo.files.weights import SAFE_WEIGHTS
from themo.models.runtimes.choice import PACKAGES
from themo.models.runtimes.graphs import write_openvino, write_states

LIBRARY = sentence_transformers_format.LIBRARY
TASK = sentence_transformers_format.TASK
NORMALIZED = sentence_transformers_format.NORMALIZED
MODEL = "openvino/openvino_model.xml"


def refuse(source: Source) -> None:
    """Refuse a student that is too large for a graph, and missing packages.

    Raises:
        InputError: A package is missing, or the student is too large.
    """
    refuse_graph("openvino", str(source.version), source.trained, PACKAGES["openvino"])


def write(folder: Path, request: Request) -> list[str]:
    """Write the files; return notes on deviations for the card."""
    notes = sentence_transformers_format.write(folder, request)
    (folder / SAFE_WEIGHTS).unlink()  # the graph holds them
    (folder / MODEL).parent.mkdir()
    write_openvino(folder / MODEL, request.source.student, write_states)
    return [
        *notes,
        "OpenVINO computes in bfloat16 where the CPU has units for it: cosines change by up to 1e-4.",
    ]


def usage(request: Request) -> str:
    """Return the card's lines of code."""
    lines = sentence_transformers_format.usage(request)
    return lines.replace("SentenceTransformer(place)", 'SentenceTransformer(place, backend="openvino")')
