"""The section of the settings that names the test data and the baselines' models."""

from __future__ import annotations

from pydantic import model_validator

from themo.config.places import OptionalPlace
from themo.config.sections import Section


class BenchmarkSettings(Section):
    """The test data, as folders on disk."""

    language: str = "es"
    """Language of the captions, by its code in the test sets."""
    captions: OptionalPlace = None
    """Folder of XTD10's caption files; null: no retrieval test."""
    images: OptionalPlace = None
    """Folder with MSCOCO's train2014/ and val2014/."""
    imagenet: OptionalPlace = None
    """Folder with ImageNet's ILSVRC/ and LOC_synset_mapping.txt; null: no accuracy task."""
    prompts: OptionalPlace = None
    """TSV `synset, en, es` of the classes' prompts; several prompts of a class are averaged."""
    class_names: OptionalPlace = None
    """TSV `synset, en, es` of class names for `templates`, one or more rows per class."""
    templates: OptionalPlace = None
    """TSV `en, es` of prompts with {} for a class's name; a class is the mean of all its prompts."""
    prompt_translator: OptionalPlace = None
    """Marian model from English, hub name or folder, that translates prompts of the classes' first names if
    `prompts` and `class_names` are null."""
    captions_source: str | None = None
    """Address of the parent of XTD10's folders; `prepare`, `train` and `tune` fetch its captions into
    `captions`, to keep them out of the training pairs. Null: not fetched."""
    images_source: str | None = None
    """Address of an archive with train2014/ and val2014/, unpacked into `images`; null: not fetched."""
    imagenet_source: str | None = None
    """Address of an archive with ILSVRC/ and LOC_synset_mapping.txt, unpacked into `imagenet`; null: not
    fetched."""

    xm3600_captions: OptionalPlace = None
    """Folder with Crossmodal-3600's captions.jsonl, kept out of the training pairs; null: none."""
    xm3600_images: OptionalPlace = None
    """Folder of Crossmodal-3600's images, KEY.jpg; null: not tested."""
    xm3600_captions_source: str | None = None
    """Address of Crossmodal-3600's captions.zip; `prepare`, `train` and `tune` unpack it into
    `xm3600_captions`. Null: not fetched."""
    xflickrco_captions: OptionalPlace = None
    """Folder with xFlickr&CO's es/test.jsonl and en/test.jsonl, kept out of the training pairs; null:
    none."""
    xflickrco_images: OptionalPlace = None
    """Folder of xFlickr&CO's images: of Flickr30k, also in flickr30k-images/, and of MSCOCO, also in
    val2014/; null: not tested."""
    xflickrco_captions_source: str | None = None
    """Address of the parent of xFlickr&CO's es/ and en/; `prepare`, `train` and `tune` fetch its captions
    into `xflickrco_captions`. Null: not fetched."""

    mclip: OptionalPlace = None
    """Multilingual-CLIP text encoder for `test --baseline`, hub name or folder; null: none."""
    mclip_architecture: OptionalPlace = None
    """open_clip model with the image tower of `mclip`."""
    mclip_pretrained: OptionalPlace = None
    """Weights of `mclip_architecture`, as `pretrained`."""
    translator: OptionalPlace = None
    """Marian model from the captions' language to English, hub name or folder, for the baseline of `test
    --baseline` that translates captions for the teacher; null: no such baseline."""

    @property
    def names_tests(self) -> bool:
        """Whether the settings name a test set with its images."""
        images = (self.images, self.imagenet, self.xm3600_images, self.xflickrco_images)
        return any(place is not None for place in images)

    @model_validator(mode="after")
    def _complete(self) -> BenchmarkSettings:
        if (self.captions is None) != (self.images is None):
            raise ValueError("`captions` and `images` must be given together")
        for name in ("xm3600", "xflickrco"):
            if getattr(self, f"{name}_captions") is None and getattr(self, f"{name}_images") is not None:
                raise ValueError(f"`{name}_images` needs `{name}_captions`")
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
