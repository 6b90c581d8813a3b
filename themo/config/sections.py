"""The sections of the settings: what each setting is, its default, its rule.

No model is named here: model names stand in `configs/` alone.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from themo.config.catalogue import parse_weighted
from themo.config.loss_mixture import parse_mixture
from themo.config.places import OptionalPlace, Place

MAX_TOKENS = 512
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

    corpus: tuple[Place, ...] = Field(min_length=1, strict=False)
    """TSV or Parquet files of sentence pairs, or names of the catalogue (opus-100, talks, tatoeba,
    image-captions), one after the other; `2*talks` sees its pairs twice in an epoch, `0.5*talks` half of
    them."""
    columns: tuple[str, str] = Field(("en", "es"), strict=False)
    """English and Spanish column: names, or numbers from 1 for a TSV without a header."""
    image_column: str | None = None
    """Column of own corpora with the id (436508) or file name (COCO_train2014_000000436508.jpg) of a
    caption's MSCOCO image, empty where a pair has none: pairs of the tests' images are dropped; null: the
    sentences alone are compared."""
    validation: OptionalPlace = None
    """File of held-out pairs; null: `validation_pairs` pairs are held out of the corpus."""
    validation_pairs: int = Field(1000, ge=2)
    """Pairs held out of the corpus, all spellings of an English sentence on one side; of a file, at most."""
    validation_captions: OptionalPlace = None
    """Folder with captions of `validation_images`, in XTD10's layout; null: validation sees no image."""
    validation_images: OptionalPlace = None
    """Folder with train2014/ and val2014/ of images that no test uses."""
    max_pairs: int | None = Field(None, ge=2)
    """Training pairs at most, a fixed random choice; null: all."""
    max_length_ratio: float | None = Field(3.0, gt=1)
    """Pairs are dropped whose longer side has more than so many times the characters of the shorter, 20 added
    to both; null: none are."""
    check_language: bool = True
    """Drop pairs of which a side is plainly in another language or script, or both sides are the same."""
    targets: OptionalPlace = None
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

    architecture: Place
    """open_clip model name, `hf-hub:` or `local-dir:` address, or a folder in open_clip's layout."""
    pretrained: OptionalPlace = None
    """open_clip weights tag or a weights file; null where the architecture brings its own."""
    target: Literal["state", "embedding", "unit"] = "state"
    """What the student learns: the text state before CLIP's projection, the embedding after it, or that one
    scaled to length 1."""


class StudentSettings(Section):
    """The Spanish encoder."""

    backbone: Place
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
    max_length: int = Field(77, ge=3, le=MAX_TOKENS)
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
    """Sentence pairs between two validations; a whole part of them in a run so short that it would have less
    than five."""
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
    captions: OptionalPlace = None
    """Folder with XTD10's caption files; null: no retrieval task."""
    images: OptionalPlace = None
    """Folder with MSCOCO's train2014/ and val2014/."""
    imagenet: OptionalPlace = None
    """Folder with ImageNet's ILSVRC/ and LOC_synset_mapping.txt; null: no accuracy task."""
    prompts: OptionalPlace = None
    """TSV `synset, en, es`: the classes' prompts, averaged where a class has several."""
    class_names: OptionalPlace = None
    """TSV `synset, en, es`: names of the classes, one row or more a class, put into `templates`."""
    templates: OptionalPlace = None
    """TSV `en, es`: prompts with {} for a class's name; a class is the mean over all of them."""
    prompt_translator: OptionalPlace = None
    """Marian model from English, hub name or folder, that makes the prompts of the classes' first names where
    `prompts` and `class_names` are null."""
    captions_source: str | None = None
    """Address of XTD10's captions, above its folders; `prepare`, `train` and `tune` fetch them into
    `captions`, for no training pair may hold one."""
    images_source: str | None = None
    """Address of an archive with train2014/ and val2014/, unpacked into `images`."""
    imagenet_source: str | None = None
    """Address of an archive with ILSVRC/ and LOC_synset_mapping.txt, unpacked into `imagenet`."""

    mclip: OptionalPlace = None
    """Multilingual-CLIP text encoder that `test --baseline` scores too: hub name or folder; null: none."""
    mclip_architecture: OptionalPlace = None
    """open_clip model whose image tower `mclip` belongs to."""
    mclip_pretrained: OptionalPlace = None
    """Its weights, as `pretrained`."""
    translator: OptionalPlace = None
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
    logs_dir: Place = "logs"
    """Version and search directories, and the MLflow database."""
    cache_dir: Place = "data/cache"
    """What can be computed again: the miniature, teacher vectors, token ids, image vectors."""
