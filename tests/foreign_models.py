"""Toy models of foreign architectures in the layout of their hub repositories; their weights are seeded."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import open_clip
import sentencepiece
import torch
from hub import COMMIT
from safetensors.torch import save_file
from tiny import sentence_pairs
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from torch import Tensor, nn
from transformers import (
    AutoModel,
    BertConfig,
    BertForMaskedLM,
    GenerationConfig,
    MarianConfig,
    MarianMTModel,
    XLMRobertaConfig,
)

WIDTH = 32
DIMENSION = 12
POSITIONS = 20
"""Tokens that the toy XLM-R reads; its table has two more rows, for the padding's id and below."""
MARIAN_POSITIONS = 32


class Trap:
    """An object whose unpickling runs code: it makes a folder, which tells."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return os.mkdir, (str(self.folder),)


def enter_into_hub_cache(folder: Path, cache: Path, name: str) -> Path:
    """Copy a model's folder to where huggingface_hub keeps what it has downloaded of `name`."""
    repository = cache / f"models--{name.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT, encoding="utf-8")
    return shutil.copytree(folder, repository / "snapshots" / COMMIT)


def write_mclip(root: Path) -> Path:
    """Write ``root/mclip`` in the layout of the hub's M-CLIP repositories, over the base ``root/base``."""
    base, folder = root / "base", root / "mclip"
    base.mkdir(parents=True)
    folder.mkdir()
    pieces = _xlm_pieces()
    config = XLMRobertaConfig(
        vocab_size=len(pieces),
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=POSITIONS + 2,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
    )
    config.to_json_file(base / "config.json")
    settings = {
        "model_type": "M-CLIP",
        "architectures": ["MultilingualCLIP"],
        "modelBase": str(base),
        "numDims": DIMENSION,
        "transformerDimensions": WIDTH,
    }
    (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    _write_xlm_tokenizer(folder, pieces)
    torch.save(_mclip_weights(config), folder / "pytorch_model.bin")
    return folder


def _xlm_pieces() -> list[str]:
    """XLM-R's special pieces where it has them, the words of the tiny language, and letters."""
    words = sorted({word for pair in sentence_pairs() for text in pair for word in text.split()})
    letters = sorted(set("".join(words)))
    return ["<s>", "<pad>", "</s>", "<unk>", "▁", *letters, *(f"▁{word}" for word in words), "<mask>"]


def _write_xlm_tokenizer(folder: Path, pieces: Sequence[str]) -> None:
    # whole words cost less than their letters
    scores = [0.0 if i < 4 else -1.0 - (len(piece) < 3) * 4 for i, piece in enumerate(pieces)]
    tokenizer = Tokenizer(models.Unigram(list(zip(pieces, scores, strict=True)), unk_id=3))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"bos": "<s>", "eos": "</s>", "sep": "</s>", "cls": "<s>", "unk": "<unk>", "pad": "<pad>"}
    settings = {f"{name}_token": piece for name, piece in names.items()}
    settings |= {"mask_token": "<mask>", "tokenizer_class": "XLMRobertaTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")


def _mclip_weights(config: XLMRobertaConfig) -> dict[str, Tensor]:
    """Weights as on the hub: with the pooler, and the position ids that older states hold."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = _spread(AutoModel.from_config(config))
        linear = nn.Linear(WIDTH, DIMENSION)
    return (
        {f"transformer.{key}": value for key, value in encoder.state_dict().items()}
        | {f"LinearTransformation.{key}": value for key, value in linear.state_dict().items()}
        | {"transformer.embeddings.position_ids": torch.arange(config.max_position_embeddings)[None]}
    )


def _spread(model: nn.Module) -> nn.Module:
    """Larger weights: as they start, all sentences lie close together."""
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2 and name.endswith("weight"):
            nn.init.normal_(parameter, std=0.3)
    return model


def write_marian(folder: Path, *, num_beams: int = 2, seed: int = 0) -> Path:
    """Write a Marian model of one layer a side, English to Spanish, that translates into nonsense.

    Args:
        folder: Made here.
        num_beams: Written into its ``generation_config.json``.
        seed: Of the weights.
    """
    folder.mkdir(parents=True)
    pairs = sentence_pairs()
    pieces = {
        **dict.fromkeys(_train_pieces(folder / "source.spm", [en for en, _ in pairs])),
        **dict.fromkeys(_train_pieces(folder / "target.spm", [es for _, es in pairs])),
    }
    # Marian's order: end of sentence, unknown, pieces of both languages, padding
    specials = ("</s>", "<unk>")
    names = [*specials, *(piece for piece in pieces if piece not in (*specials, "<s>")), "<pad>"]
    vocabulary = {piece: i for i, piece in enumerate(names)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    settings = {"source_lang": "en", "target_lang": "es", "tokenizer_class": "MarianTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    pad = vocabulary["<pad>"]
    config = MarianConfig(
        vocab_size=len(vocabulary),
        decoder_vocab_size=len(vocabulary),
        d_model=WIDTH,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_position_embeddings=MARIAN_POSITIONS,
        activation_function="swish",
        scale_embedding=True,
        pad_token_id=pad,
        eos_token_id=0,
        forced_eos_token_id=0,
        decoder_start_token_id=pad,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = MarianMTModel(config)
        _spread(model)
    model.generation_config = GenerationConfig(
        num_beams=num_beams,
        max_length=12,
        bad_words_ids=[[pad]],
        pad_token_id=pad,
        eos_token_id=0,
        forced_eos_token_id=0,
        decoder_start_token_id=pad,
        renormalize_logits=True,
    )
    model.save_pretrained(folder)
    return folder


def _train_pieces(path: Path, sentences: Sequence[str]) -> list[str]:
    """Train sentencepiece, write its model, and give its pieces."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_writer=model,
        vocab_size=60,
        hard_vocab_limit=False,
        num_threads=1,
        minloglevel=2,
    )
    path.write_bytes(model.getvalue())
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    return [processor.id_to_piece(i) for i in range(processor.get_piece_size())]


def write_beto(folder: Path) -> Path:
    """A toy of BETO as the hub has it: its special ids, a head for masked words, pickled weights."""
    folder.mkdir(parents=True)
    words = sorted({word for _, es in sentence_pairs() for word in es.split()})
    pieces = ["[MASK]", "[PAD]", "[EOS]", "[UNK]", "[CLS]", "[SEP]", *sorted(set("".join(words))), *words]
    pieces = list(dict.fromkeys(pieces))
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"do_lower_case": True, "strip_accents": False, "tokenizer_class": "BertTokenizer"}),
        encoding="utf-8",
    )
    config = BertConfig(
        vocab_size=len(pieces),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        pad_token_id=1,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = BertForMaskedLM(config)
    config.architectures = ["BertForMaskedLM"]
    config.to_json_file(folder / "config.json")
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    return folder


def write_clip(folder: Path, *, seed: int = 0) -> Path:
    """A toy of OpenAI's CLIP in open_clip's layout: quickgelu, CLIP's own vocabulary and context."""
    folder.mkdir(parents=True)
    model_cfg: dict[str, Any] = {
        "embed_dim": DIMENSION,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 16},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    }
    config = {"model_cfg": model_cfg, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}}
    (folder / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = open_clip.model.CLIP(**model_cfg)
    save_file(
        {name: t.contiguous() for name, t in model.state_dict().items()},
        folder / "open_clip_model.safetensors",
    )
    return folder
