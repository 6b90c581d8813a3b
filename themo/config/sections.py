"""The sections of the settings: meaning, default and rule of each setting.

Model names are only in `configs/`.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from themo.config.catalogue import parse_weighted
from themo.config.loss_mixture import parse_mixture
from themo.config.places import OptionalPlace, Place

MAX_SEED = 2**63 - 1
"""Greatest seed, that of a signed 64-bit integer; NumPy takes any, torch up to 2^64 - 1."""
MAX_TOKENS = 512
"""Tokens stored of each sentence; `student.max_length` may cut further when batches are made."""

Objective = Literal["val/retrieval@01", "val/match@01", "val/cosine", "val/loss"]

HIGHER_IS_BETTER: dict[Objective, bool] = {
    "val/retrieval@01": True,
    "val/match@01": True,
    "val/cosine": True,
    "val/loss": False,
}
"""Direction of an objective."""


class Section(BaseModel):
    """A group of settings: immutable, typed strictly, without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class DataSettings(Section):
    """The sentence pairs."""

    corpus: tuple[Place, ...] = Field(min_length=1, strict=False)
    """TSV or Parquet files of sentence pairs, or corpora of the catalogue (opus-100, talks, tatoeba,
    image-captions); `2*talks` repeats its pairs twice per epoch, `0.5*talks` uses half of them."""
    columns: tuple[str, str] = Field(("en", "es"), strict=False)
    """English and Spanish column, by name, or by number from 1 in a TSV without a header."""
    image_column: str | None = None
    """Column of own corpora with the MSCOCO id (436508) or file name (COCO_train2014_000000436508.jpg) of a
    caption's image, empty for pairs without one; pairs of test images are dropped. Null: pairs are compared
    with the tests by their sentences alone."""
    validation: OptionalPlace = None
    """File of held-out pairs, or a corpus of the catalogue; null: `validation_pairs` pairs of the corpus."""
    validation_pairs: int = Field(1000, ge=2)
    """Number of pairs held out of the corpus, or greatest number used of the file `validation`. All spellings
    of an English sentence fall on the same side."""
    validation_captions: OptionalPlace = None
    """Folder of captions of `validation_images`, in XTD10's layout; null: validation without images."""
    validation_images: OptionalPlace = None
    """Folder with train2014/ and val2014/, images for validation that no test uses."""
    max_pairs: int | None = Field(None, ge=2)
    """Greatest number of training pairs, a fixed random choice; null: all pairs."""
    max_length_ratio: float | None = Field(3.0, gt=1)
    """Maximum character-length ratio of a pair, longer to shorter side, 20 characters added to both; null
    disables the check."""
    check_language: bool = True
    """Drop pairs with a side in another language or script, and pairs with two equal sides."""
    targets: OptionalPlace = None
    """File of own teacher vectors, .npy of shape (N, D), one row per row of the corpus; null: vectors of the
    teacher."""

    @field_validator("corpus", mode="before")
    @classmethod
    def _one_corpus_is_a_list(cls, names: object) -> object:
        return (names,) if isinstance(names, str) else names

    @field_validator("corpus")
    @classmethod
    def _weights_are_positive(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if any(parse_weighted(name)[0] == 0 for name in names):
            raise ValueError("a weight must be greater than 0")
        return names

    @field_validator("validation")
    @classmethod
    def _validation_has_no_weight(cls, name: str | None) -> str | None:
        if name is not None and parse_weighted(name)[1] != name:
            raise ValueError("must have no weight")
        return name

    @model_validator(mode="after")
    def _complete(self) -> DataSettings:
        if self.columns[0] == self.columns[1]:
            raise ValueError(f"`columns` must name two different columns, got {self.columns[0]!r} twice")
        if self.image_column in self.columns:
            raise ValueError(f"`image_column` must be none of `columns`, got {self.image_column!r}")
        if (self.validation_captions is None) != (self.validation_images is None):
            raise ValueError("`validation_captions` and `validation_images` must be given together")
        return self


class TeacherSettings(Section):
    """The teacher: a CLIP model of open_clip."""

    architecture: Place
    """open_clip model name, `hf-hub:` or `local-dir:` address, or a folder in open_clip's layout."""
    pretrained: OptionalPlace = None
    """open_clip weights tag, or a weights file; null: the weights of `hf-hub:`, `local-dir:` or folder."""
    target: Literal["state", "embedding", "unit"] = "state"
    """Target of the student: the text state before CLIP's projection, the embedding after it, or the
    embedding scaled to length 1."""


class StudentSettings(Section):
    """The Spanish encoder."""

    backbone: Place
    """transformers encoder, hub name or folder."""
    backbone_weights: bool = True
    """Start from the backbone's pretrained weights; false: random weights in its architecture."""
    hidden_size: int | None = Field(None, ge=8)
    """Width in place of the backbone's, with heads and inner width in proportion; only for random weights.
    Null: the backbone's width."""
    hidden_layers: int | None = Field(None, ge=1)
    """Number of layers in place of the backbone's; only for random weights. Null: the backbone's number."""
    dropout: float | None = Field(None, ge=0, lt=1)
    """Dropout rate of states and attention in the backbone, as far as its configuration has these rates
    (ModernBERT has attention's alone); null: the backbone's own rates."""
    max_length: int = Field(77, ge=3, le=MAX_TOKENS)
    """Greatest length of a sentence, in tokens with the special ones; longer sentences are cut."""
    pooling: Literal["mean", "first"] = "mean"
    """Pooling of the token states: their mean, or the first token's state."""
    last_layer_norm: bool = False
    """Apply a layer norm to the pooled state before the projection."""
    projection_bias: bool = False
    """Projection with a bias."""
    projection_init: Literal["clip", "xavier"] = "clip"
    """Initial projection: normal with std width^-0.5 as CLIP's, or Xavier uniform as M-CLIP's."""


class LossSettings(Section):
    """The loss that the student minimises."""

    loss: str = "mse"
    """Loss: `mse`, `cosine`, `infonce`, or a weighted sum such as `cosine+0.1*infonce`."""
    temperature: float = Field(0.05, gt=0)
    """Softmax temperature of InfoNCE; no unit."""

    nested_widths: tuple[int, ...] | None = Field(None, strict=False)
    """Lengths, ascending, of short vectors that can be used alone: the first values of a vector along the
    targets' principal axes. The loss of each length is added to that of whole vectors (Matryoshka). Null:
    whole vectors only."""
    nested_weights: tuple[float, ...] | None = Field(None, strict=False)
    """Factor of the loss of each of `nested_widths`; null: 1 each. Whole vectors count 1 unless their
    dimension is one of the widths."""

    @field_validator("loss")
    @classmethod
    def _known_terms(cls, value: str) -> str:
        parse_mixture(value)
        return value

    @field_validator("nested_widths")
    @classmethod
    def _widths_ascend(cls, widths: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if widths == ():
            raise ValueError("must name a width, or be null")
        for width, after in pairwise((0, *(widths or ()))):
            if after < 1:
                raise ValueError(f"must be widths of at least 1, {after} is none")
            if after == width:
                raise ValueError(f"must name each width once, {width} occurs twice")
            if after < width:
                raise ValueError(f"must be ascending, {after} comes after {width}")
        return widths

    @field_validator("nested_weights")
    @classmethod
    def _weights_are_positive(cls, weights: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if any(weight <= 0 for weight in weights or ()):
            raise ValueError("must be above 0")
        return weights

    @model_validator(mode="after")
    def _weights_match_widths(self) -> LossSettings:
        widths, weights = len(self.nested_widths or ()), self.nested_weights
        if weights is not None and len(weights) != widths:
            raise ValueError(
                f"`nested_weights` must be one for each of the {widths} `nested_widths`, got {len(weights)}"
            )
        return self


class TrainingSettings(Section):
    """The training of the student."""

    seed: int = Field(0, ge=0, le=MAX_SEED)
    """Seed of the initial weights, the order of the pairs and dropout."""
    batch_size: int = Field(64, ge=1)
    """Sentence pairs per step."""
    accumulate: int = Field(1, ge=1)
    """Microbatches per batch, to save memory; the update stays the same."""
    epochs: float = Field(1.0, gt=0)
    """Passes over the training pairs, also fractions."""
    optimizer: Literal["adam", "adamw"] = "adamw"
    """Optimiser; Adam adds weight decay to the gradient, AdamW to the weights."""
    learn_rate: float = Field(1e-3, gt=0)
    """Peak learning rate."""
    weight_decay: float = Field(0.01, ge=0)
    """Weight decay of matrices; biases and layer norms have none."""
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    """Learning rate after the warm-up: constant, or decreasing to 0."""
    warmup_steps: int = Field(0, ge=0)
    """Steps in which the learning rate rises from 0."""
    clip_norm: float | None = Field(1.0, gt=0)
    """Maximum norm of the gradient; null: no clipping."""
    objective: Literal["auto", Objective] = "auto"
    """Validation metric for the choice of the best student, early stopping and the search; `auto`:
    val/retrieval@01 with validation images, else val/match@01."""
    patience: int | None = Field(None, ge=1)
    """Reports without improvement before training stops; null: no early stopping."""
    report_pairs: int = Field(10_000, ge=1)
    """Sentence pairs between two validations; fewer in runs that would have fewer than five validations."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device; `auto`: a GPU if there is one; in a search, the trial's device."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of matrix products; `auto`: bfloat16 if the device has units for it."""
    compile: bool = False
    """Compile the student by torch.compile; if that fails, training continues uncompiled, with a warning."""
    threads: int = Field(0, ge=0)
    """CPU threads; 0: OMP_NUM_THREADS, else one per core; in a search, one per CPU of the trial. Bitwise
    equal results need equal threads."""


class PathSettings(Section):
    """Folders of outputs, relative to the working directory."""

    experiment: str = Field("default", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the version folder and of the MLflow experiment."""
    logs_dir: Place = "logs"
    """Folder of version and search directories and the MLflow database."""
    cache_dir: Place = "data/cache"
    """Folder of results that can be computed again: the miniature, teacher vectors, token ids, image
    vectors."""
