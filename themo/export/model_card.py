"""The model card of an export: a README for the Hugging Face hub, filled from the run's record.

Facts that the record lacks are left out, or given as unknown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from themo.config.catalogue import CATALOGUE, parse_weighted
from themo.config.presets import MINIATURE
from themo.config.settings import Settings
from themo.config.yaml_files import write_yaml
from themo.evaluation.report.tables import ROW_NAMES
from themo.evaluation.score_names import ACCURACY, CEILING, KS, RESERVED, RETRIEVAL, STUDENT, metric_name
from themo.export.card_examples import example_sentences, expected_values
from themo.export.card_sets import lines_of_sets, results_of_sets
from themo.export.card_sources import (
    backbone_name,
    base_models,
    corpus_name,
    datasets,
    is_miniature,
    name_of_test_set,
    plain_name,
    teacher_name,
)
from themo.export.source import Source
from themo.models.phrases import LONGEST_TEXT
from themo.models.student import Head

_TASKS = {
    RETRIEVAL: ("Text-to-image retrieval", "recall", "R@{}"),
    ACCURACY: ("Zero-shot image classification", "accuracy", "accuracy@{}"),
}
_MINIATURE_TERMS = "MIT, it is Themo's own"
_CEILING = "its teacher, English (ceiling)"
_ROWS = ROW_NAMES | {STUDENT: "this model, Spanish", CEILING: _CEILING}
_ROWS_OF_TABLE = _ROWS | {STUDENT: "the encoder that this table was distilled from, Spanish"}


@dataclass(frozen=True)
class Card:
    """The contents of a card.

    Attributes:
        source: The version.
        library: The hub's name of the library that loads the export.
        task: The hub's name of the task.
        usage: Lines of code, with ``<place>`` and ``<sentences>``.
        notes: Deviations from the student.
        normalized: Whether the export's vectors have length 1.
        is_table: Whether the export is a static table: the record's scores are those of its student.
        repository: Hub repository of the export; None: not published.
        vectors_NE: Vectors of the example's sentences; None: the card gives no values.
    """

    source: Source
    library: str
    task: str
    usage: str
    notes: Sequence[str]
    normalized: bool
    is_table: bool = False
    repository: str | None = None
    vectors_NE: Tensor | None = None

    def render(self) -> str:
        """Return the text of the README."""
        return f"---\n{write_yaml(self._metadata())}---\n\n" + "\n".join(self._sections())

    @property
    def name(self) -> str:
        """Name of the model."""
        if self.repository is not None:
            return self.repository.rpartition("/")[2]
        return f"themo-{self.source.settings.paths.experiment}"

    def _metadata(self) -> dict[str, Any]:
        settings = self.source.settings
        metadata: dict[str, Any] = {
            "language": ["es"],
            "license": "mit" if is_miniature(settings) else "other",
            "library_name": self.library,
            "pipeline_tag": self.task,
            "tags": ["themo", "clip", "knowledge-distillation", "text-to-image-retrieval"],
        }
        lists = {"base_model": base_models(self.source), "datasets": datasets(settings)}
        metadata |= {key: names for key, names in lists.items() if names}
        results = list(self._results())
        if results:
            metadata["model-index"] = [{"name": self.name, "results": results}]
        return metadata

    def _results(self) -> Iterator[dict[str, Any]]:
        scores = None if self.is_table else self.source.scores
        for task, (name, kind, pattern) in _TASKS.items() if scores else ():
            metrics = [
                {
                    "type": f"{kind}_at_{k}",
                    "name": f"{pattern.format(k)}, 95 % interval {_range(scores, STUDENT, task, k)}",
                    "value": round(scores[STUDENT][metric_name(task, k)], 4),
                }
                for k in KS
                if scores is not None and metric_name(task, k) in scores[STUDENT]
            ]
            if metrics:
                test_set = name_of_test_set(self.source.settings, task)
                yield {
                    "task": {"type": _slug(name), "name": name},
                    "dataset": {"type": _slug(test_set), "name": test_set},
                    "metrics": metrics,
                }
        if scores:
            yield from results_of_sets(scores)

    def _sections(self) -> Iterator[str]:
        source = self.source
        of_encoder = " of the encoder" if self.is_table else ""
        yield f"# {self.name}\n"
        yield self._introduction()
        yield "## Use\n"
        yield self._usage()
        if self.notes:
            yield "Notes on this format:\n"
            yield "".join(f"- {note}\n" for note in self.notes)
        yield f"## Evaluation{of_encoder}\n"
        if self.is_table:
            yield "The table itself was not tested. Its vectors differ from the encoder's.\n"
        yield _measured(source, _ROWS_OF_TABLE if self.is_table else _ROWS)
        yield f"## Training{of_encoder}\n"
        yield _made(source)
        yield "## Limits\n"
        yield "".join(f"- {limit}\n" for limit in _limits(source))
        yield "## Licence\n"
        yield _licence(source)

    def _introduction(self) -> str:
        source = self.source
        settings, head = source.settings, source.student.head
        kind = "static table of Spanish words and phrases" if self.is_table else "Spanish text encoder"
        network = f"{backbone_name(source)} with {_pooling(source.trained.head)} and a linear projection"
        text = f"A {kind}, distilled with Themo{' from an encoder' if self.is_table else ''}: {network}. "
        if source.has_teacher:
            text += (
                f"It maps a Spanish sentence to the vector that CLIP's English text tower "
                f"({teacher_name(settings)}) gives its "
                f"translation, so its vectors of {head.dimension} dimensions can be compared with "
                "that CLIP's image vectors"
            )
        else:
            text += (
                f"It was trained on the user's vectors of {head.dimension} dimensions "
                f"({plain_name(str(settings.data.targets))}); they have no known image tower"
            )
        comparison = "have length 1: compare them by dot product"
        if not self.normalized:
            comparison = "do not have length 1: compare them by cosine"
        cut = f"Sentences are cut to {head.max_length} tokens, special ones included"
        if self.is_table:
            cut = f"Texts are not cut up to {LONGEST_TEXT:,} characters"
        return f"{text}. Vectors {comparison}. {cut}.\n"

    def _usage(self) -> str:
        place = 'place = "."  # the folder of this file'
        if self.repository is not None:
            place = (
                "from huggingface_hub import snapshot_download\n\n"
                f'place = snapshot_download("{self.repository}")'
            )
        sentences = json.dumps(example_sentences(self.source), ensure_ascii=False)
        code = self.usage.replace("<place>", place).replace("<sentences>", f"sentences = {sentences}")
        return code if self.vectors_NE is None else f"{code}\n{expected_values(self.vectors_NE)}"


def _measured(source: Source, names: Mapping[str, str]) -> str:
    text = ""
    if source.scores is None:
        text += "Not tested on images.\n\n" if source.has_teacher else ""
    else:
        text += _table(source.scores, source.settings, names)
    best = source.summary.get("best", {})
    if best:
        n = source.summary.get("validation_pairs")
        pairs = f"{n:,} held-out sentence pairs" if isinstance(n, int) else "held-out sentence pairs"
        values = ", ".join(f"{name} {value:.4f}" for name, value in best.items())
        images = ", val/retrieval@01 on images that no test uses" if "val/retrieval@01" in best else ""
        text += (
            f"In validation, on {pairs}{images}: {values}. The student was chosen by "
            f"{source.settings.objective}.\n"
        )
    return text


def _table(scores: Mapping[str, Any], settings: Settings, names: Mapping[str, str]) -> str:
    rows = [name for name, row in scores.items() if name not in RESERVED and isinstance(row, Mapping)]
    lines = ["| | " + " | ".join(f"@{k}" for k in KS) + " |", "|---|" + "---|" * len(KS)]
    for task, (name, _, _) in _TASKS.items():
        if task not in scores["n"]:
            continue
        unit = "captions" if task == RETRIEVAL else "images"
        title = f"**{name}**, {name_of_test_set(settings, task)}, {scores['n'][task]:,} {unit}"
        lines.append(f"| {title} |" + " |" * len(KS))
        for row in rows:
            cells = [f"{scores[row][metric_name(task, k)]:.3f} ({_range(scores, row, task, k)})" for k in KS]
            lines.append(f"| {names.get(row, row)} | " + " | ".join(cells) + " |")
    lines += lines_of_sets(scores, names)
    text = "\n".join(lines) + "\n\nIn brackets: 95 % intervals."
    if scores.get("equal_prompts"):
        text += " Classes with equal prompts count as one class; published accuracies count them separately."
    if "retention" in scores:
        text += f" Retention, R@1 of the encoder over that of its teacher: {scores['retention']:.3f}."
    return text + "\n\n"


def _range(scores: Mapping[str, Any] | None, row: str, task: str, k: int) -> str:
    low, high = (scores or {})["ci95"][row][metric_name(task, k)]
    return f"{low:.3f} to {high:.3f}"


def _made(source: Source) -> str:
    settings, summary = source.settings, source.summary
    environment = summary.get("environment", {})
    last = summary.get("last", {})
    steps = summary.get("lineage", [])
    line = ", ".join(f"as trial {step['donor']} from {step['pairs']:,} pairs" for step in steps)
    rows = {
        "backbone": backbone_name(source)
        + ("" if settings.student.backbone_weights else ", from random weights"),
        "teacher": f"{teacher_name(settings)}, target {settings.teacher.target}"
        if source.has_teacher
        else f"none: the user's vectors, {plain_name(str(settings.data.targets))}",
        "corpora": ", ".join(map(corpus_name, settings.data.corpus)),
        "sentence pairs": f"{summary['train_pairs']:,} to train" if "train_pairs" in summary else "",
        "loss": settings.loss.loss,
        "optimiser": f"{settings.training.optimizer}, learning rate {settings.training.learn_rate:g} "
        f"({settings.training.schedule}, {settings.training.warmup_steps} warm-up steps), batch "
        f"{settings.training.batch_size}",
        "settings": f"the last settings of a run that changed them: it continued {line}" if line else "",
        "length of the run": f"{last['epoch']:.2f} epochs, {last['pairs_seen']:,} pairs seen, "
        f"{summary['state']}"
        if {"epoch", "pairs_seen"} <= set(last)
        else str(summary["state"]),
        "seed": str(settings.training.seed),
        "parameters": f"{summary['parameters']:,}" if "parameters" in summary else "",
        "made with": ", ".join(
            f"{name} {environment[name]}"
            for name in ("themo", "commit", "torch", "transformers", "device", "precision")
            if environment.get(name)
        ),
    }
    return "| | |\n|---|---|\n" + "".join(f"| {key} | {value} |\n" for key, value in rows.items() if value)


def _limits(source: Source) -> Iterator[str]:
    settings = source.settings
    yield "The model reads Spanish. It was not trained on other languages."
    if source.has_teacher:
        yield "It knows images only through its teacher, with the teacher's errors and biases."
    if settings.teacher.architecture.startswith(MINIATURE) and source.has_teacher:
        yield (
            "Its teacher is the miniature's, trained only on drawn shapes: use it for "
            "experiments, not for photographs."
        )
    if source.scores is not None:
        yield (
            "The intervals cover the choice of test queries, not the seed of training; the figures apply "
            "only to these test sets."
        )


def _licence(source: Source) -> str:
    if is_miniature(source.settings):
        return "MIT: teacher, backbone and sentences are Themo's own miniature.\n"
    return "The permitted uses of the weights depend on their sources:\n\n" + "".join(
        f"- {part}: {terms}\n" for part, terms in _terms(source)
    )


def _terms(source: Source) -> Iterator[tuple[str, str]]:
    """Yield each source of the weights and its terms."""
    settings = source.settings
    parts = [(f"backbone {backbone_name(source)}", settings.student.backbone)]
    if settings.data.targets is None:
        parts.append((f"teacher {teacher_name(settings)}", settings.teacher.architecture))
    else:
        yield f"vectors {plain_name(settings.data.targets)}", "the terms are not recorded"
    for part, name in parts:
        yield part, _MINIATURE_TERMS if name.startswith(MINIATURE) else "the terms are its publisher's"
    for corpus in settings.data.corpus:
        _, plain = parse_weighted(corpus)
        if plain in CATALOGUE:
            yield f"corpus {plain}", CATALOGUE[plain].source
        elif plain.startswith(MINIATURE):
            yield f"corpus {plain_name(plain)}", _MINIATURE_TERMS
        else:
            yield f"corpus {plain_name(plain)}", "the terms are not recorded"


def _pooling(head: Head) -> str:
    pooling = "the mean of its token states" if head.pooling == "mean" else "its first token's state"
    return f"{pooling}, a layer norm" if head.last_layer_norm else pooling


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
