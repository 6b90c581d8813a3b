"""Translation by a Marian model, such as ``Helsinki-NLP/opus-mt-en-es``, cached by content."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from themo.errors import InputError, reason_of
from themo.files.cache import Cache, digest, digest_folder
from themo.files.weights import refuse_code
from themo.models.by_length import batches_by_length
from themo.models.normal_form import canonical
from themo.models.token_ids import refuse_largest_id
from themo.process.progress import track

TRANSLATIONS = "translations.json"
TRANSLATE_BATCH = 32

_SHOWN = 12
"""Number of target languages that a message names."""

_THREE_LETTERS = {
    "de": "deu",
    "en": "eng",
    "es": "spa",
    "fr": "fra",
    "it": "ita",
    "ko": "kor",
    "pl": "pol",
    "ru": "rus",
    "tr": "tur",
}
"""ISO 639-3 codes of XTD10's languages, for newer models."""


class Translator:
    """A Marian model. Build one with `Translator.load`.

    Attributes:
        model: The transformers model in eval mode.
        tokenizer: Tokenizer of the model.
        prefix: Prefix of every sentence: the target language's code for a multilingual model, else empty.
    """

    def __init__(self, model: Any, tokenizer: Any, prefix: str = "") -> None:
        self.model: Any = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.prefix = prefix

    @classmethod
    def load(cls, name: str, device: str | torch.device = "cpu", target: str | None = None) -> Translator:
        """Load a model with its weights and tokenizer.

        Args:
            name: Repository of the hub, or a folder with the same files.
            device: Device of the model.
            target: Language to translate into, such as ``"es"``; a model of one target language ignores it.

        Raises:
            InputError: The model is unknown or damaged, its weights hold code, or `target` is none of its
                several target languages.
        """
        from themo.fetching.hub import fetch_model  # imports take a second

        what = f"translation model {name}"
        # from a folder: for a name, transformers starts a thread that asks the hub to convert the weights
        folder = fetch_model(name, what)
        tokenizer = _load_tokenizer(folder, what)
        model = _load_model(folder, what)
        refuse_largest_id(what, max(tokenizer.get_vocab().values()), model.config.vocab_size)
        return cls(model.to(device), tokenizer, _target_prefix(tokenizer, target, what))

    @torch.inference_mode()
    def translate(self, texts: Sequence[str]) -> list[str]:
        """Translate sentences, greedily or by beam search as in ``generation_config.json``.

        Args:
            texts: N sentences; longer ones are cut to the model's positions.

        Returns:
            N sentences in canonical form, in the order of `texts`.
        """
        translated = [""] * len(texts)
        with track("Translates", len(texts), "sentences") as advance:
            for chosen in batches_by_length([len(text) for text in texts], TRANSLATE_BATCH, advance):
                sentences = self._translate_batch([texts[i] for i in chosen])
                for i, sentence in zip(chosen, sentences, strict=True):
                    translated[i] = sentence
        return translated

    def _translate_batch(self, texts: list[str]) -> list[str]:
        batch = self.tokenizer(
            [self.prefix + canonical(text) for text in texts],
            padding=True,
            truncation=True,
            max_length=self.model.config.max_position_embeddings,
            return_tensors="pt",
        )
        # never sampled: cached results must be reproducible
        ids_BL = self.model.generate(**batch.to(self.model.device), do_sample=False)
        sentences: list[str] = self.tokenizer.batch_decode(
            ids_BL,
            skip_special_tokens=True,
            use_source_tokenizer=False,  # transformers 5 would if the languages share a vocabulary
        )
        return [canonical(sentence) for sentence in sentences]


def translations(
    cache: Cache, name: str, texts: Sequence[str], target: str, load: Callable[[], Translator]
) -> tuple[str, ...]:
    """Return translations of sentences, in their order, computed once.

    Args:
        cache: Cache of the translations.
        name: Name of the model, or its folder, identified by its contents.
        texts: N sentences.
        target: Language of the translations.
        load: Loads the `Translator`; called only for new sentences.

    Raises:
        InputError: The model cannot be loaded, or the cache cannot be written.
    """

    def build(folder: Path) -> None:
        sentences = load().translate(texts)
        text = json.dumps(sentences, ensure_ascii=False, indent=0)
        (folder / TRANSLATIONS).write_text(text + "\n", encoding="utf-8")

    texts = [canonical(text) for text in texts]
    model = digest_folder(Path(name)) if Path(name).is_dir() else name
    key = {"model": model, "texts": digest(texts), "target": target}
    entry = cache.entry("translations", key, build)
    return tuple(json.loads((entry / TRANSLATIONS).read_text(encoding="utf-8")))


def _target_prefix(tokenizer: Any, target: str | None, what: str) -> str:
    """Return the prefix that selects a multilingual model's target language; empty for a bilingual model."""
    # not `supported_language_codes`, which is empty if source and target have separate vocabularies
    codes = [piece[2:-2] for piece in tokenizer.encoder if piece.startswith(">>") and piece.endswith("<<")]
    if not codes:
        return ""
    for code in (target, _THREE_LETTERS.get(str(target))):
        if code in codes:
            return f">>{code}<< "
    raise InputError(
        f"{what}: must translate into {target}, got a model of {len(codes)} target languages: "
        f"{', '.join(codes[:_SHOWN])}{', ...' if len(codes) > _SHOWN else ''}"
    )


def _load_tokenizer(folder: Path, what: str) -> Any:
    try:
        with warnings.catch_warnings():
            # concerns a normalisation of punctuation that the tokenizer never applies itself
            warnings.filterwarnings("ignore", "Recommended: pip install sacremoses", UserWarning)
            from transformers import MarianTokenizer

            return MarianTokenizer.from_pretrained(str(folder), trust_remote_code=False)
    except ImportError as error:
        raise InputError(f"{what}: needs the package sentencepiece: pip install sentencepiece") from error
    except Exception as error:  # sentencepiece, JSON and transformers raise different errors
        raise InputError(f"{what}: has no usable tokenizer: {reason_of(error)}") from error


def _load_model(folder: Path, what: str) -> Any:
    from transformers import AutoConfig, MarianConfig, MarianMTModel  # seconds of processor time

    try:
        # not by MarianConfig: it gives defaults for a missing file
        config = AutoConfig.from_pretrained(str(folder), trust_remote_code=False)
        if config.model_type != MarianConfig.model_type:
            raise ValueError(f"must be of type {MarianConfig.model_type}, got {config.model_type}")
        model, loading = MarianMTModel.from_pretrained(
            str(folder),
            config=config,
            weights_only=True,
            trust_remote_code=False,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except Exception as error:  # safetensors, torch, JSON and transformers raise different errors
        refuse_code(error, what)
        raise InputError(f"{what}: cannot be loaded: {reason_of(error)}") from error
    # transformers would continue with random ones
    if loading["missing_keys"]:
        missing = sorted(loading["missing_keys"])
        raise InputError(f"{what}: its weights lack {len(missing)} tensors, the first is {missing[0]}")
    return model
