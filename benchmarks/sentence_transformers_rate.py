"""Training rate of Themo's path against sentence-transformers' trainer with MSELoss, on Tatoeba.

Same backbone, pooling, projection, pairs, batch size and learning rate. The trainer shuffles, tokenises each
batch in its loop and pads it to its longest sentence, in float32. The measured time is from the end of a
round's first step to the end of its last. It includes tokenizing but no setup. Themo is measured without and
with tokenizing, which it does once for all epochs.
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from benchmarks.measure import Comparison, Options, Row
from benchmarks.training_rate import PADDED_LENGTH, Ours, tatoeba_settings
from themo.config.settings import Settings
from themo.data.corpora import Corpus
from themo.data.dataset import TrainingData
from themo.data.preparation import prepare_data
from themo.models.tokens import Tokenizer
from themo.process.progress import track
from themo.training.loop import build_student

ROUNDS = 5
STEPS_A_ROUND = 12
GOAL = 2.5
NAME = "training rate, tatoeba: sentence-transformers = 1"


def run(options: Options) -> list[Row]:
    """Rows with the ratio of rates, without and with our tokenising."""
    refusal = options.why_no_real_data()
    if refusal is None and importlib.util.find_spec("sentence_transformers") is None:
        refusal = "skipped: sentence-transformers is not installed (pip install '.[bench]')"
    if refusal:
        return [Row(NAME, None, "x", detail=refusal)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = tatoeba_settings(options, folder / "cache")
        data = prepare_data(settings)
        ours = Ours(settings, data, rounds_an_epoch=15)
        theirs = SentenceTransformers(settings, data, folder)
        seconds_a_text = _tokenising_seconds(settings, theirs.texts)
        rates = Comparison([], [])
        ours(-1)
        with track("Measuring sentence-transformers", ROUNDS, "rounds") as advance:
            for number in range(ROUNDS):
                start = time.perf_counter()
                n_pairs = ours(number)
                rates.ours.append(n_pairs / (time.perf_counter() - start))
                rates.theirs.append(theirs(number))
                advance(1)
    with_tokens = replace(rates, ours=[1 / (1 / rate + seconds_a_text) for rate in rates.ours])
    detail = f"batch {settings.training.batch_size}, mse, ours in {str(ours.dtype).removeprefix('torch.')}"
    seed = options.seed
    return [
        rates.row(NAME, GOAL, "pairs", f"{detail}; theirs tokenizes during training, ours has", seed),
        with_tokens.row(f"{NAME}, one epoch with our tokenising", None, "pairs", detail, seed),
    ]


class SentenceTransformers:
    """The same student in sentence-transformers, trained by its own trainer.

    Args:
        settings: Settings; student, batch size, learning rate and seed are used.
        data: The training pairs; only the size of their targets is used.
        folder: Folder for the backbone and the trainer's files.
    """

    def __init__(self, settings: Settings, data: TrainingData, folder: Path) -> None:
        os.environ["HF_HUB_OFFLINE"] = "1"
        from datasets import Dataset
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer.modules import Dense, Pooling, Transformer

        torch.manual_seed(settings.training.seed)
        student = build_student(settings, data)
        student.backbone.save_pretrained(folder / "backbone")  # type: ignore[operator]
        Tokenizer.load(data.backbone).inner.save_pretrained(folder / "backbone")
        backbone = Transformer(str(folder / "backbone"), max_seq_length=PADDED_LENGTH)
        width, dimension = student.projection.in_features, data.dimension
        weight = student.projection.weight.detach().clone()
        dense = Dense(
            width, dimension, bias=False, activation_function=torch.nn.Identity(), init_weight=weight
        )
        self.model: Any = SentenceTransformer(modules=[backbone, Pooling(width), dense], device="cpu")
        self.settings, self.folder = settings, folder
        corpus = Corpus("tatoeba", (Path(settings.data.corpus[0]),), settings.data.columns)
        spanish = pa.concat_arrays([batch.column("es") for batch in corpus.batches()])
        needed = (STEPS_A_ROUND + 1) * settings.training.batch_size
        random = np.random.default_rng(settings.training.seed)
        n_pairs = len(data.train)
        chosen = random.choice(n_pairs, needed * ROUNDS, replace=needed * ROUNDS > n_pairs)
        rows = data.train.rows[chosen]  # a pair's row is its index in the corpus
        self.texts: list[str] = spanish.take(rows).to_pylist()
        targets = data.train.targets.rows(rows)
        self.rounds = [
            Dataset.from_dict(
                {"text": self.texts[start : start + needed], "label": targets[start : start + needed]}
            )
            for start in range(0, needed * ROUNDS, needed)
        ]

    def __call__(self, number: int) -> float:
        """Train a round; return pairs per second."""
        from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
        from sentence_transformers.sentence_transformer.losses import MSELoss
        from transformers import PrinterCallback, ProgressCallback, TrainerCallback

        ends: list[float] = []

        class Clock(TrainerCallback):  # type: ignore[misc]
            def on_step_end(self, *_: Any, **__: Any) -> None:
                ends.append(time.perf_counter())

        training = self.settings.training
        arguments = SentenceTransformerTrainingArguments(
            output_dir=str(self.folder / "trainer"),
            per_device_train_batch_size=training.batch_size,
            learning_rate=training.learn_rate,
            num_train_epochs=1,
            use_cpu=True,
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            seed=training.seed,
        )
        trainer = SentenceTransformerTrainer(
            model=self.model,
            args=arguments,
            train_dataset=self.rounds[number],
            loss=MSELoss(self.model),
            callbacks=[Clock()],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.remove_callback(ProgressCallback)
        trainer.train()
        return (len(ends) - 1) * training.batch_size / (ends[-1] - ends[0])


def _tokenising_seconds(settings: Settings, texts: list[str]) -> float:
    """Seconds that Themo takes to tokenise a text, with the threads of training."""
    os.environ["RAYON_NUM_THREADS"] = str(settings.training.threads)
    tokenizer = Tokenizer.load(settings.student.backbone)
    start = time.perf_counter()
    tokenizer.encode(texts)
    return (time.perf_counter() - start) / len(texts)
