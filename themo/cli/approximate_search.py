"""``search --approximate``: its refusal, the opening of its index, and its recall as JSON."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from themo.errors import InputError
from themo.process.progress import console

if TYPE_CHECKING:
    from themo.image_search.approximate import ApproximateIndex
    from themo.image_search.index import ImageIndex
    from themo.model import Model

INSTALL = "pip install faiss-cpu"
"""Command that installs faiss."""


def refuse_missing_faiss() -> None:
    """Refuse an approximate search where faiss is not installed.

    Raises:
        InputError: faiss is not installed.
    """
    if find_spec("faiss") is None:
        raise InputError(f"--approximate: needs faiss, which is not installed: {INSTALL}")


def open_approximate(index: ImageIndex, model: Model, n_best: int) -> ApproximateIndex | None:
    """Return the approximate index, and print its recall; None, with a printed reason, for an exact search.

    Args:
        index: The exact index.
        model: The student.
        n_best: Number of requested matches.
    """
    from themo.image_search.approximate import N_COUNTED, ApproximateIndex, too_few_to_approximate
    from themo.image_search.chance import too_few_references
    from themo.image_search.references import load_references

    unused = too_few_to_approximate(len(index.names), n_best)
    if unused is None:
        references = load_references(model)
        unused = too_few_references(references)
    if unused is not None:
        console.print(f"--approximate: all pictures are compared: {unused}")
        return None
    approximate = ApproximateIndex.update(index, references.vectors_RE)
    recall = approximate.recall
    unknown = f"; the share of the best {n_best:,} is not known" if n_best > N_COUNTED else ""
    console.print(
        f"Approximate: {recall.share:.1%} of the ten best pictures are found, "
        f"as measured on {recall.n_texts} reference texts{unknown}"
    )
    return approximate


def recall_to_json(approximate: ApproximateIndex | None) -> dict[str, Any] | None:
    """Return the recall of an approximate index as JSON; null without one."""
    if approximate is None:
        return None
    recall = approximate.recall
    return {
        "recall@10": recall.share,
        "sample": "reference texts",
        "n_texts": recall.n_texts,
        "n_probes": recall.n_probes,
    }
