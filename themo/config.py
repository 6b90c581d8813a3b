"""Settings: typed, validated as a whole, read from YAML and overridden by options.

This file and `configs/` are the only home of model names. A setting's leaf name (``learn_rate``) is unique
over all sections, so that it names the same thing in YAML, as an option (``--learn-rate``), in a search space
and in MLflow.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo

from themo.errors import InputError, did_you_mean
from themo.fetching.catalogue import parse_weighted
from themo.miniature.recipe import MiniatureRecipe
from themo.mixture import parse_mixture
from themo.presets import DEFAULT_PRESET, preset_path
from themo.yaml_files import read_yaml, write_yaml

_OF_THE_CORPUS = ("validation", "validation_captions", "validation_images", "targets")
LONGEST = 512
"""Tokens of a sentence that are kept; `student.max_length` cuts further when batches are made."""

Objective = Literal["val/retrieval@01", "val/match@01", "val/cosine", "val/loss"]

HIGHER_IS_BETTER: dict[Objective, bool] = {
    "val/retrieval@01": True,
    "val/match@01": True,
    "val/cosine": True,
    "val/loss": False,
}
"""Of two values of an objective."""


class Section(BaseModel):
    """A group of settings: immutable, typed strictly, without unknown keys."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


class DataSettings(Section):
    """The sentence pairs."""

    corpus: tuple[str, ...] = Field(min_length=1, strict=False)
    """TSV or Parquet files of sentence pairs, or names of the catalogue (opus-100, talks, tatoeba,
    image-captions), one after the other; `2*talks` sees its pairs twice in an epoch, `0.5*talks` half of
    them."""
    columns: tuple[str, str] = Field(("en", "es"), strict=False)
    """English and Spanish column: names, or numbers from 1 for a TSV without a header."""
    image_column: str | None = None
    """Column of own corpora with the id or file name of a caption's MSCOCO image: pairs of the tests' images
    are dropped; null: the sentences alone are compared."""
    validation: str | None = None
    """File of held-out pairs; null: `validation_pairs` pairs are held out of the corpus."""
    validation_pairs: int = Field(1000, ge=2)
    """Pairs held out of the corpus, equal English sentences on one side; no more are used of a file."""
    validation_captions: str | None = None
    """Folder with captions of `validation_images`, in XTD10's layout; null: validation sees no image."""
    validation_images: str | None = None
    """Folder with train2014/ and val2014/ of images that no test uses."""
    max_pairs: int | None = Field(None, ge=2)
    """Training pairs at most, a fixed random choice; null: all."""
    max_length_ratio: float | None = Field(3.0, gt=1)
    """Pairs are dropped whose longer side has more than so many times the characters of the shorter, 20 added
    to both; null: none are."""
    check_language: bool = True
    """Drop pairs of which a side is plainly in another language or script, or both sides are the same."""
    targets: str | None = None
    """Own teacher vectors, .npy of shape (N, D), a row a row of the corpus; null: the teacher's."""

    @field_validator("corpus")
    @classmethod
    def _weights_are_numbers(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            parse_weighted(name)
        return names

    @model_validator(mode="after")
    def _complete(self) -> DataSettings:
        if (self.validation_captions is None) != (self.validation_images is None):
            raise ValueError("`validation_captions` and `validation_images` must be given together")
        return self


class TeacherSettings(Section):
    """CLIP, through open_clip."""

    architecture: str
    """open_clip model name, `hf-hub:` or `local-dir:` address, or a folder in open_clip's layout."""
    pretrained: str | None = None
    """open_clip weights tag or a weights file; null where the architecture brings its own."""
    target: Literal["state", "embedding", "unit"] = "state"
    """What the student learns: the text state before CLIP's projection, the embedding after it, or that one
    scaled to length 1."""


class StudentSettings(Section):
    """The Spanish encoder."""

    backbone: str
    """transformers encoder: hub name or folder."""
    backbone_weights: bool = True
    """Start from the backbone's pretrained weights; false: random ones in its architecture."""
    hidden_size: int | None = Field(None, ge=8)
    """Width in place of the backbone's, heads and inner width in proportion; random weights only."""
    hidden_layers: int | None = Field(None, ge=1)
    """Layers in place of the backbone's; random weights only."""
    dropout: float | None = Field(None, ge=0, lt=1)
    """Share of values dropped in the backbone, of states and of attention, in place of its own; where its
    configuration has one of the two, as ModernBERT's of attention, of that alone; null: its own."""
    max_length: int = Field(77, ge=3, le=LONGEST)
    """Tokens of a sentence that are read, special ones included."""
    pooling: Literal["mean", "first"] = "mean"
    """Mean of the token states, or the first token's."""
    last_layer_norm: bool = False
    """Normalise the pooled state before the projection."""
    projection_bias: bool = False
    """Give the projection a bias."""
    projection_init: Literal["clip", "xavier"] = "clip"
    """Projection at the start: normal with std width^-0.5 as CLIP's, or Xavier uniform as M-CLIP's."""


class LossSettings(Section):
    """What the student minimises."""

    loss: str = "mse"
    """`mse`, `cosine`, `infonce`, or a weighted mix such as `cosine+0.1*infonce`."""
    temperature: float = Field(0.05, gt=0)
    """Softmax temperature of InfoNCE; no unit."""

    @field_validator("loss")
    @classmethod
    def _known_terms(cls, value: str) -> str:
        parse_mixture(value)
        return value


class TrainingSettings(Section):
    """How the student is trained."""

    seed: int = Field(0, ge=0)
    """Seed of the initial weights, the order of the pairs and dropout."""
    batch_size: int = Field(64, ge=1)
    """Sentence pairs a step."""
    accumulate: int = Field(1, ge=1)
    """Parts into which a batch is cut to save memory; the update is the same."""
    epochs: float = Field(1.0, gt=0)
    """Passes over the training pairs; a fraction is allowed."""
    optimizer: Literal["adam", "adamw"] = "adamw"
    """Adam adds weight decay to the gradient, AdamW to the weights."""
    learn_rate: float = Field(1e-3, gt=0)
    """Peak learning rate."""
    weight_decay: float = Field(0.01, ge=0)
    """Decay of matrices; biases and layer norms have none."""
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    """Learning rate after the warm-up: constant, or down to 0 at the end."""
    warmup_steps: int = Field(0, ge=0)
    """Steps over which the learning rate rises from 0."""
    clip_norm: float | None = Field(1.0, gt=0)
    """Greatest norm of the gradient; null: no clipping."""
    objective: Literal["auto", Objective] = "auto"
    """Validation metric that chooses the kept student, stops early, and is searched on; `auto`:
    val/retrieval@01 where there are validation images, else val/match@01."""
    patience: int | None = Field(None, ge=1)
    """Reports without improvement after which training stops; null: never."""
    report_pairs: int = Field(10_000, ge=1)
    """Sentence pairs between two validations."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto`: a GPU where there is one; in a search, what the trial was given."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of matrix products; `auto`: bfloat16 where the device has units for it."""
    compile: bool = False
    """Let torch.compile translate the student; where it cannot, training goes on without, and says so."""
    threads: int = Field(0, ge=0)
    """CPU threads; 0: as many as OMP_NUM_THREADS says, else as torch finds cores; in a search, the trial's
    share. Equal numbers to the last bit need equal threads."""


class BenchmarkSettings(Section):
    """Test data, as folders on disk."""

    language: str = "es"
    """Language of the XTD10 captions."""
    captions: str | None = None
    """Folder with XTD10's caption files; null: no retrieval task."""
    images: str | None = None
    """Folder with MSCOCO's train2014/ and val2014/."""
    imagenet: str | None = None
    """Folder with ImageNet's ILSVRC/ and LOC_synset_mapping.txt; null: no accuracy task."""
    prompts: str | None = None
    """TSV `synset, en, es`: the classes' prompts, averaged where a class has several."""
    class_names: str | None = None
    """TSV `synset, en, es`: names of the classes, one row or more a class, put into `templates`."""
    templates: str | None = None
    """TSV `en, es`: prompts with {} for a class's name; a class is the mean over all of them."""
    prompt_translator: str | None = None
    """Marian model from English, hub name or folder, that makes the prompts of the classes' first names where
    `prompts` and `class_names` are null."""
    captions_source: str | None = None
    """Address of XTD10's captions, above its folders; `prepare`, `train` and `tune` fetch them into
    `captions`, for no training pair may hold one."""
    images_source: str | None = None
    """Address of an archive with train2014/ and val2014/, unpacked into `images`."""
    imagenet_source: str | None = None
    """Address of an archive with ILSVRC/ and LOC_synset_mapping.txt, unpacked into `imagenet`."""

    mclip: str | None = None
    """Multilingual-CLIP text encoder that `test --baseline` scores too: hub name or folder; null: none."""
    mclip_architecture: str | None = None
    """open_clip model whose image tower `mclip` belongs to."""
    mclip_pretrained: str | None = None
    """Its weights, as `pretrained`."""
    translator: str | None = None
    """Marian model from the captions' language to English, hub name or folder: `test --baseline` then scores
    the teacher fed translations; null: it does not."""

    @property
    def names_tests(self) -> bool:
        """Whether there is anything to test on."""
        return self.captions is not None or self.imagenet is not None

    @model_validator(mode="after")
    def _complete(self) -> BenchmarkSettings:
        if (self.captions is None) != (self.images is None):
            raise ValueError("`captions` and `images` must be given together")
        if (self.class_names is None) != (self.templates is None):
            raise ValueError("`class_names` and `templates` must be given together")
        if self.class_names is not None and self.prompts is not None:
            raise ValueError("`prompts` and `class_names` must not be given together")
        if self.imagenet is not None and not (self.prompts or self.class_names or self.prompt_translator):
            raise ValueError(
                "`imagenet` needs `prompts`, a TSV with the columns synset, en, es, or `class_names` and "
                "`templates`, or a `prompt_translator`"
            )
        if (self.mclip is None) != (self.mclip_architecture is None):
            raise ValueError("`mclip` and `mclip_architecture` must be given together")
        return self


class PathSettings(Section):
    """Where things are kept; relative to the working directory."""

    experiment: str = Field("default", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the folder of versions and of the MLflow experiment."""
    logs_dir: str = "logs"
    """Version and search directories, and the MLflow database."""
    cache_dir: str = "data/cache"
    """What can be computed again: the miniature, teacher vectors, token ids, image vectors."""


class Settings(Section):
    """Everything that a run depends on."""

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
            problems.append("`data.targets` has no rows for a `data.validation` file: set that to null")
        if self.data.targets and self.data.validation_images:
            problems.append(
                "`data.targets` come without a teacher that sees `data.validation_images`: set these to null"
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
        resized = self.student.hidden_size or self.student.hidden_layers
        if resized and self.student.backbone_weights:
            problems.append(
                "`student.hidden_size` and `student.hidden_layers` need `student.backbone_weights: false`"
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
        """Every setting by its leaf name, the miniature's recipe left out."""
        values: dict[str, Any] = {}
        for section, fields in _SECTIONS_BUT_MINIATURE.items():
            values |= {name: getattr(getattr(self, section), name) for name in fields}
        return values

    def override(self, values: Mapping[str, Any], source: str = "") -> Settings:
        """These settings with some leaves replaced, validated again as a whole.

        A new `corpus` leaves behind what belongs to the old one, unless it is given with it: `validation`,
        `validation_captions`, `validation_images` and `targets`.

        Args:
            values: New values by leaf name.
            source: Where the values come from, for messages; empty: each is named as its option.

        Raises:
            InputError: All unknown names and bad values in one line.
        """
        tree = self.model_dump(mode="json")
        origins = _apply(tree, values, source)
        return _validate(tree, origins, source or "options")

    def to_yaml(self) -> str:
        """The settings as complete YAML, which `load` reads back to equal settings."""
        return write_yaml(self.model_dump(mode="json"))


_SECTIONS_BUT_MINIATURE: dict[str, dict[str, FieldInfo]] = {
    name: dict(field.annotation.model_fields)
    for name, field in Settings.model_fields.items()
    if name != "miniature" and isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
}


def known_leaves() -> dict[str, tuple[str, FieldInfo]]:
    """Section and field of every setting by its leaf name."""
    return {
        leaf: (section, field)
        for section, fields in _SECTIONS_BUT_MINIATURE.items()
        for leaf, field in fields.items()
    }


def option(leaf: str) -> str:
    """The command-line option of a setting."""
    return "--" + leaf.replace("_", "-")


def load(
    config: Path | None = None, preset: str | None = None, overrides: Mapping[str, Any] | None = None
) -> Settings:
    """Settings of a YAML file or a preset, with options on top.

    A file may start from a preset with the key ``preset``, and then holds only what differs; its own corpus
    leaves behind what belongs to the preset's (`Settings.override`).

    Args:
        config: A YAML file; excludes `preset`.
        preset: Name of a preset; the miniature where neither is given.
        overrides: Values by leaf name, as given on the command line.

    Raises:
        InputError: All problems in one line, each with file or option, key, rule and value.
    """
    if config is not None and preset is not None:
        raise InputError("--config and --preset exclude each other")
    path = config if config is not None else preset_path(preset or DEFAULT_PRESET)
    tree = _read_tree(path)
    origins = _apply(tree, overrides or {}, source="")
    return _validate(tree, origins, str(path))


def _read_tree(path: Path) -> dict[str, Any]:
    """A file's settings over those of the preset that it starts from, and so on."""
    tree = read_yaml(path)
    name = tree.pop("preset", None)
    if name is None:
        return tree
    base, data = _read_tree(preset_path(name, f"{path}: preset")), tree.get("data")
    if isinstance(data, Mapping) and "corpus" in data:
        _leave_corpus_behind(base)
    return _merged(base, tree)


def _leave_corpus_behind(tree: dict[str, Any]) -> None:
    if isinstance(tree.get("data"), dict):
        tree["data"] |= dict.fromkeys(_OF_THE_CORPUS)


def _merged(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
    return merged


def _apply(tree: dict[str, Any], values: Mapping[str, Any], source: str) -> dict[str, str]:
    """Write leaves into the tree; return the label of each dotted key that a message should name."""
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
        _leave_corpus_behind(tree)
    for leaf, value in values.items():
        section = leaves[leaf][0]
        tree.setdefault(section, {})
        if isinstance(tree[section], dict):
            tree[section][leaf] = value
        origins[f"{section}.{leaf}"] = f"{source}: {leaf}" if source else option(leaf)
    return origins


def _validate(tree: Mapping[str, Any], origins: Mapping[str, str], source: str) -> Settings:
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        problems = [_problem(dict(item), origins, source) for item in error.errors()]
        raise InputError("; ".join(dict.fromkeys(problems))) from None


def _problem(item: dict[str, Any], origins: Mapping[str, str], source: str) -> str:
    path = [str(part) for part in item["loc"]]
    dotted = ".".join(path)
    setting = ".".join(path[:2])
    given = f" with {', '.join(origins.values())}" if origins else ""
    label = origins.get(setting) or (f"{source}: {dotted}" if dotted else f"{source}{given}")
    value = item["input"]
    match item["type"]:
        case "extra_forbidden":
            siblings = _SECTIONS_BUT_MINIATURE.get(path[0], {}) if len(path) > 1 else Settings.model_fields
            return f"{source}: unknown key {dotted!r}{did_you_mean(path[-1], siblings)}"
        case "missing" if len(path) > 2:  # an item of `columns`
            return f"{origins.get(setting) or f'{source}: {setting}'}: is too short, got {value!r}"
        case "missing":
            return f"{source}: {dotted} is missing"
        case "value_error":
            message = str(item["ctx"]["error"])
            return f"{label}: {message}" + ("" if len(path) < 2 else f", got {value!r}")
        case "tuple_type":
            return f"{label}: must be a list, got {value!r}"
        case _:
            rule = re.sub(r"^\w+ should ", "must ", item["msg"])
            return f"{label}: {rule}, got {value!r}"
