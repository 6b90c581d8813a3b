"""Names on a model card: of backbone, teacher, corpora and test sets, without local folders."""

from __future__ import annotations

import re
from pathlib import Path, PurePath

from themo.config.catalogue import CATALOGUE, parse_weighted
from themo.config.presets import MINIATURE
from themo.config.settings import Settings
from themo.evaluation.score_names import RETRIEVAL
from themo.export.source import Source
from themo.models.teacher_names import hub_repository

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def base_models(source: Source) -> list[str]:
    """Return the hub repositories of the backbone and the teacher, as far as they are known."""
    settings, repository = source.settings, source.summary.get("backbone_repository")
    names = []
    if settings.student.backbone_weights and repository:
        names.append(repository)
    if settings.data.targets is None:
        teacher = hub_repository(settings.teacher.architecture, settings.teacher.pretrained)
        names += [teacher] if teacher else []
    return names


def datasets(settings: Settings) -> list[str]:
    """Return the hub repositories of the corpora of the catalogue."""
    plain = [parse_weighted(name)[1] for name in settings.data.corpus]
    return [CATALOGUE[name].repository for name in plain if name in CATALOGUE]


def name_of_test_set(settings: Settings, task: str) -> str:
    """Return the name of the test set, or of its folder if it has no known source."""
    config = settings.benchmarks
    place, source, layout = (
        (config.captions, config.captions_source, "XTD10")
        if task == RETRIEVAL
        else (config.imagenet, config.imagenet_source, "ImageNet")
    )
    if place is not None and place.startswith(MINIATURE):
        return f"Themo's miniature in {layout}'s layout"
    if source is not None:
        return f"{layout}, {config.language}"
    return f"{plain_name(str(place))} in {layout}'s layout, {config.language}"


def teacher_name(settings: Settings) -> str:
    """Return the teacher's architecture and weights."""
    name = plain_name(settings.teacher.architecture)
    return f"{name}, {plain_name(settings.teacher.pretrained)}" if settings.teacher.pretrained else name


def backbone_name(source: Source) -> str:
    """Return the backbone's hub name if the record has one, else the last part of its folder."""
    name, repository = source.settings.student.backbone, source.summary.get("backbone_repository")
    if repository:
        return str(repository)
    is_folder = "backbone_repository" in source.summary and not name.startswith(MINIATURE)
    return PurePath(name).name if is_folder else plain_name(name)


def corpus_name(name: str) -> str:
    """Return a corpus's name, with its weight unless that is 1."""
    weight, plain = parse_weighted(name)
    shown = plain if plain in CATALOGUE else plain_name(plain)
    return shown if weight == 1 else f"{shown} ({weight:g} x)"


def plain_name(name: str) -> str:
    """Return a name without local folders; hub names stay unchanged."""
    if name.startswith(MINIATURE):
        return f"Themo's miniature ({name.removeprefix(MINIATURE)})"
    if name.startswith("hf-hub:") or _is_hub_name(name):
        return name
    return PurePath(name.removeprefix("local-dir:")).name


def _is_hub_name(name: str) -> bool:
    return _HUB_NAME.fullmatch(name) is not None and not Path(name).exists()


def is_miniature(settings: Settings) -> bool:
    """Return whether all parts of a run are the miniature's."""
    parts = [settings.student.backbone, *settings.data.corpus]
    parts.append(settings.data.targets or settings.teacher.architecture)
    return all(parse_weighted(part)[1].startswith(MINIATURE) for part in parts)
