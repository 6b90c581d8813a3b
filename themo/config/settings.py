"""Settings: typed, validated as a whole, read from YAML, overridden by options.

A setting's leaf name (``learn_rate``) is unique over all sections (`themo.config.sections`): it is the name
in YAML, as an option (``--learn-rate``), in a search space and in MLflow.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError, model_validator
from pydantic.fields import FieldInfo

from themo.config.benchmarks import BenchmarkSettings
from themo.config.corpus_names import experiment_of, own_corpora
from themo.config.descriptions import descriptions
from themo.config.miniature import MiniatureRecipe
from themo.config.presets import DEFAULT_PRESET, preset_path
from themo.config.sections import (
    DataSettings,
    LossSettings,
    Objective,
    PathSettings,
    Section,
    StudentSettings,
    TeacherSettings,
    TrainingSettings,
)
from themo.config.yaml_files import message_of, read_yaml, write_yaml
from themo.errors import InputError, did_you_mean

_OF_THE_CORPUS = ("validation", "validation_captions", "validation_images", "targets")


class Settings(Section):
    """All settings of a run."""

    paths: PathSettings = PathSettings()
    data: DataSettings
    teacher: TeacherSettings
    student: StudentSettings
    loss: LossSettings = LossSettings()
    training: TrainingSettings = TrainingSettings()
    benchmarks: BenchmarkSettings = BenchmarkSettings()
    miniature: MiniatureRecipe = MiniatureRecipe()

    @model_validator(mode="after")
    def _no_contradictions(self) -> Settings:
        problems = []
        if self.data.targets and self.data.validation:
            problems.append(
                "`data.targets` has no rows for the file `data.validation`: set `data.validation` to null"
            )
        if self.data.targets and self.data.validation_images:
            problems.append(
                "`data.targets` have no image tower for `data.validation_images`: set these to null"
            )
        if self.training.objective == "val/retrieval@01" and not self.data.validation_images:
            problems.append(
                "`training.objective: val/retrieval@01` needs `data.validation_captions` and "
                "`data.validation_images`"
            )
        if self.training.accumulate > self.training.batch_size:
            problems.append(
                f"`training.accumulate <= training.batch_size` must hold, got accumulate="
                f"{self.training.accumulate}, batch_size={self.training.batch_size}"
            )
        sizes = {"hidden_size": self.student.hidden_size, "hidden_layers": self.student.hidden_layers}
        resized = [f"{name}={size}" for name, size in sizes.items() if size is not None]
        if resized and self.student.backbone_weights:
            problems.append(
                "`student.hidden_size` and `student.hidden_layers` need `student.backbone_weights: false`, "
                f"got {', '.join(resized)}, backbone_weights=true"
            )
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def objective(self) -> Objective:
        """`training.objective`, with `auto` resolved."""
        if self.training.objective != "auto":
            return self.training.objective
        return "val/retrieval@01" if self.data.validation_images else "val/match@01"

    def leaves(self) -> dict[str, Any]:
        """All settings by leaf name, without the miniature's recipe."""
        values: dict[str, Any] = {}
        for section, fields in _SECTIONS_BUT_MINIATURE.items():
            values |= {name: getattr(getattr(self, section), name) for name in fields}
        return values

    def override(self, values: Mapping[str, Any], source: str = "") -> Settings:
        """Return the settings with some leaves replaced, validated as a whole.

        A new `corpus` resets the settings that belong to the old one unless `values` holds them:
        `validation`, `validation_captions`, `validation_images` and `targets`. The experiment `miniature` is
        renamed after the corpus.

        Args:
            values: New values by leaf name.
            source: Origin of the values, for messages; empty: messages name the options.

        Raises:
            InputError: A name is unknown or a value is wrong; lists all problems.
        """
        tree = self.model_dump(mode="json")
        origins = _apply(tree, values, source)
        return _validate(tree, origins, source or "options")

    def to_yaml(self) -> str:
        """Return the complete settings as YAML that `load` reads back."""
        return write_yaml(self.model_dump(mode="json"))


_SECTIONS_BUT_MINIATURE: dict[str, dict[str, FieldInfo]] = {
    name: dict(field.annotation.model_fields)
    for name, field in Settings.model_fields.items()
    if name != "miniature" and isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
}


def known_leaves() -> dict[str, tuple[str, FieldInfo]]:
    """Return section and field of every setting by leaf name."""
    return {
        leaf: (section, field)
        for section, fields in _SECTIONS_BUT_MINIATURE.items()
        for leaf, field in fields.items()
    }


@cache
def described() -> Mapping[str, str]:
    """Return the description of every setting by leaf name."""
    return {
        leaf: text
        for section in _SECTIONS_BUT_MINIATURE
        for leaf, text in descriptions(Settings.model_fields[section].annotation).items()  # type: ignore[arg-type]
    }


def option(leaf: str) -> str:
    """Return the command-line option of a setting."""
    return "--" + leaf.replace("_", "-")


def load(
    config: Path | None = None, preset: str | None = None, overrides: Mapping[str, Any] | None = None
) -> Settings:
    """Read the settings of a YAML file or a preset, with options on top.

    A file with the key ``preset`` starts from that preset and holds only the differences; its corpus resets
    the settings that belong to the preset's corpus (`Settings.override`).

    Args:
        config: YAML file; excludes `preset`.
        preset: Name of a preset; the miniature if neither is given.
        overrides: Values by leaf name, as given on the command line.

    Raises:
        InputError: A setting is wrong. The message names file or option, key, rule and value; several
            problems of a file come one per line with line number, others in one line.
    """
    if config is not None and preset is not None:
        raise InputError("--config and --preset cannot be combined")
    path = config if config is not None else preset_path(preset or DEFAULT_PRESET)
    tree = _read_tree(path)
    origins = _apply(tree, overrides or {}, source="")
    return _validate(tree, origins, str(path), path)


def _read_tree(path: Path) -> dict[str, Any]:
    """Return the settings of a file merged over those of the presets it starts from."""
    tree = read_yaml(path)
    name = tree.pop("preset", None)
    if name is None:
        return tree
    base, data = _read_tree(preset_path(name, f"{path}: preset")), tree.get("data")
    if isinstance(data, Mapping) and "corpus" in data:
        _reset_corpus_settings(base, data["corpus"])
    return _merged(base, tree)


def _reset_corpus_settings(tree: dict[str, Any], corpus: Any) -> None:
    """Reset the settings that belong to the old corpus, and the miniature's experiment."""
    if isinstance(tree.get("data"), dict):
        tree["data"] |= dict.fromkeys(_OF_THE_CORPUS)
    paths = tree.get("paths")
    if not (isinstance(paths, dict) and paths.get("experiment") == DEFAULT_PRESET):
        return
    names = (corpus,) if isinstance(corpus, str) else corpus
    if isinstance(names, list | tuple) and all(isinstance(name, str) for name in names):
        own = own_corpora(names)
        if own:
            tree["paths"] = paths | {"experiment": experiment_of(own)}


def _merged(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
    return merged


def _apply(tree: dict[str, Any], values: Mapping[str, Any], source: str) -> dict[str, str]:
    """Write leaves into the tree; return the label of each dotted key for messages."""
    leaves = known_leaves()
    unknown = [name for name in values if name not in leaves]
    if unknown:
        raise InputError(
            "; ".join(
                f"{source or 'options'}: unknown setting {n!r}{did_you_mean(n, leaves)}" for n in unknown
            )
        )
    origins = {}
    if "corpus" in values:
        _reset_corpus_settings(tree, values["corpus"])
    for leaf, value in values.items():
        section = leaves[leaf][0]
        tree.setdefault(section, {})
        if isinstance(tree[section], dict):
            tree[section][leaf] = value
        origins[f"{section}.{leaf}"] = f"{source}: {leaf}" if source else option(leaf)
    return origins


def _validate(
    tree: Mapping[str, Any], origins: Mapping[str, str], source: str, path: Path | None = None
) -> Settings:
    """Validate a tree of settings; report several problems of the file `path` one per line."""
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        problems = [(item["loc"], _problem(dict(item), origins, source)) for item in error.errors()]
        raise InputError(message_of(problems, None if origins else path)) from None


def _problem(item: dict[str, Any], origins: Mapping[str, str], source: str) -> str:
    path = [str(part) for part in item["loc"]]
    dotted = ".".join(path)
    setting = ".".join(path[:2])
    names = [origin.removeprefix(f"{source}: ") for origin in origins.values()]
    given = f" with {', '.join(names)}" if names else ""
    label = origins.get(setting) or (f"{source}: {dotted}" if dotted else f"{source}{given}")
    value = item["input"]
    match item["type"]:
        case "extra_forbidden":
            if len(path) == 1 and path[0] in (leaves := known_leaves()):
                return f"{source}: unknown key {dotted!r}: it belongs under '{leaves[path[0]][0]}:'"
            siblings = _SECTIONS_BUT_MINIATURE.get(path[0], {}) if len(path) > 1 else Settings.model_fields
            return f"{source}: unknown key {dotted!r}{did_you_mean(path[-1], siblings)}"
        case "missing" if len(path) > 2:  # an item of `columns`
            return f"{origins.get(setting) or f'{source}: {setting}'}: must have two entries, got {value!r}"
        case "missing":
            return f"{source}: {dotted} is missing"
        case "value_error":
            message = str(item["ctx"]["error"])
            return f"{label}: {message}" + ("" if len(path) < 2 else f", got {value!r}")
        case "tuple_type":
            return f"{label}: must be a list, got {value!r}"
        case "model_type" | "dict_type":
            return f"{label}: must be a mapping, got {value!r}"
        case _:
            rule = re.sub(r"^\w+ should ", "must ", item["msg"])
            return f"{label}: {rule}, got {value!r}"
