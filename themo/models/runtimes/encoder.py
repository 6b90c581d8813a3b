"""A student as an encoder of texts: its tokenizer and head around a session of a runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch.nn import functional

from themo.config.sections import MAX_TOKENS
from themo.errors import InputError
from themo.files.cache import Cache, digest_folder
from themo.files.weights import SAFE_WEIGHTS
from themo.models.runtimes.choice import MOST_BYTES, TITLES, Chosen, Runtime, fastest
from themo.models.runtimes.graphs import write_graph, write_openvino
from themo.models.runtimes.sessions import OnnxSession, OpenVinoSession, Session, TorchSession
from themo.models.student import Head, encode_by_length, load_head, load_student
from themo.models.tokens import Tokenizer
from themo.process.progress import console, waiting

LEAST_COSINE = 0.9999
"""Least cosine of a graph's vectors with the student's."""
PROBES = (
    "sí",
    "el perro pequeño corre por la playa",
    "dos círculos rojos sobre un cuadrado azul grande",
    "un gato " * 60,
)
"""Texts on which a graph is compared with its student: one token, sentences, more than most students read."""
_FORM = 1
"""Version of the graphs: a new number builds all again."""
_MODELS = {"onnx": "model.onnx", "openvino": "model.xml"}
_SESSIONS: dict[str, type[OnnxSession | OpenVinoSession]] = {
    "onnx": OnnxSession,
    "openvino": OpenVinoSession,
}


class TextEncoder:
    """A student in a runtime, with the interface of `StaticTable`.

    Args:
        head: The student's head.
        tokenizer: Tokenizer of the student.
        session: Session that computes the student's vectors.
    """

    def __init__(self, head: Head, tokenizer: Tokenizer, session: Session) -> None:
        self._head = head
        self._tokenizer = tokenizer
        self._session = session

    @property
    def runtime(self) -> Chosen:
        """Name of the runtime."""
        return self._session.runtime

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._head.dimension

    @property
    def max_length(self) -> int:
        """Greatest length of a text, in tokens with the special ones."""
        return min(self._head.max_length, MAX_TOKENS)

    @property
    def device(self) -> torch.device:
        """Device of the student."""
        return self._session.device

    def encode(self, texts: Sequence[str], batch_size: int) -> torch.Tensor:
        """Return vectors, (N, D) float32."""
        return encode_by_length(self._session, self._head, self._tokenizer, texts, batch_size)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of each text, special ones included."""
        counts: list[int] = self._tokenizer.encode(texts)[1].tolist()
        return counts

    def knows(self, texts: Sequence[str]) -> list[bool]:
        """Return, for each text, whether its tokens include no unknown token."""
        return self._tokenizer.knows(texts)


def open_encoder(folder: Path, runtime: Runtime, device: torch.device, cache: Cache) -> TextEncoder:
    """Load a student in a runtime; its graph is built once, in the cache, and found there later.

    Args:
        folder: Folder of the student.
        runtime: A runtime that `refuse_runtime` let pass. ``"auto"``: the fastest; if its graph cannot be
            built, PyTorch, with a message.
        device: Device of PyTorch's student; graphs are computed on the CPU.
        cache: Cache of the graphs.

    Raises:
        InputError: The student is damaged or too large for a graph, or the cache cannot be written.
    """
    chosen = fastest(folder, device.type) if runtime == "auto" else runtime
    if chosen != "torch":
        try:
            return _open_graph(folder, chosen, cache)
        except InputError as error:
            if runtime != "auto":
                raise
            console.print(f"{error}; texts are encoded by PyTorch")
    student, tokenizer = load_student(folder)
    return TextEncoder(student.head, tokenizer, TorchSession(student.to(device)))


def _open_graph(folder: Path, runtime: Chosen, cache: Cache) -> TextEncoder:
    def build(entry: Path) -> None:
        console.print(f"Preparing the text encoder for {TITLES[runtime]}, once: {cache.folder}")
        with waiting(f"Preparing the text encoder for {TITLES[runtime]}"):
            student, tokenizer = load_student(folder)
            if digest_folder(folder) != digest:  # else the cache would hold another student's graph
                raise InputError(f"{folder}: was replaced while its graph was built")
            write = write_openvino if runtime == "openvino" else write_graph
            write(entry / _MODELS[runtime], student)
            graph = TextEncoder(student.head, tokenizer, _SESSIONS[runtime](entry / _MODELS[runtime]))
            least = _least_cosine(graph, TextEncoder(student.head, tokenizer, TorchSession(student)))
            if not least >= LEAST_COSINE:
                raise InputError(
                    f"{folder}: the vectors of runtime {runtime!r} differ from PyTorch's: the lowest cosine "
                    f"must be {LEAST_COSINE} or more, got {least:.6f}"
                )

    n_bytes = (folder / SAFE_WEIGHTS).stat().st_size
    if n_bytes > MOST_BYTES:
        raise InputError(
            f"{folder}: runtime {runtime!r} supports at most {MOST_BYTES / 1e9:.1f} GB of weights, "
            f"got {n_bytes / 1e9:.1f}"
        )
    digest = digest_folder(folder)
    key = {"form": _FORM, "runtime": runtime, "student": digest}
    entry = cache.entry("encoder", key, build)
    return TextEncoder(
        load_head(folder), Tokenizer.load(str(folder)), _SESSIONS[runtime](entry / _MODELS[runtime])
    )


def _least_cosine(graph: TextEncoder, student: TextEncoder) -> float:
    ours, theirs = (encoder.encode(PROBES, len(PROBES)) for encoder in (graph, student))
    return functional.cosine_similarity(ours, theirs).min().item()
