"""Training rate of Themo compared with the original's recipe: same student, pairs and loss.

The original's recipe: texts tokenized beforehand, a plain shuffle, every batch padded to 77 tokens with an
attention mask, float32, torch's default AdamW. Themo runs the step of `themo.training.loop.train`, with the
precision of the settings and without reports.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks import synthetic
from benchmarks.measure import Goal, Options, Row, compare, rate_of
from themo.config import settings as config
from themo.config.settings import Settings
from themo.data.batches import assemble, plan_epoch, token_counts
from themo.data.dataset import TrainingData
from themo.data.preparation import prepare_data
from themo.process.devices import resolve_device, resolve_precision
from themo.training.loop import STEPS_BETWEEN_CHECKS, build_student
from themo.training.losses import build_loss, is_contrastive
from themo.training.optimization import RunningMeans, Updater, build_optimizer
from themo.training.schedules import learn_rate_at

PADDED_LENGTH = 77
ROUNDS = 7
GPU_ROUNDS = 5
GOAL_ON_GPU = 10.0
LARGE_BATCH = 2048
GOAL_SHARE_OF_GPU = Goal(40.0)
"""Percent of the matrix rate, at `LARGE_BATCH`."""
MINIATURE_GOAL, TATOEBA_GOAL = 4.0, 8.0


def run(options: Options) -> list[Row]:
    """Rows for the miniature's captions with the default student, and for Tatoeba if given."""
    settings = config.load().override({"threads": options.threads, "seed": options.seed})
    rows = [_row("miniature", settings, MINIATURE_GOAL, options, share=(1 / 6, 1 / 60))]
    name = "training rate, tatoeba"
    refusal = options.why_no_real_data()
    if refusal:
        return [*rows, Row(name, None, "x", detail=refusal)]
    with tempfile.TemporaryDirectory() as cache:
        settings = tatoeba_settings(options, Path(cache))
        return [*rows, _row("tatoeba", settings, TATOEBA_GOAL, options, share=(1 / 15, 1 / 150))]


def tatoeba_settings(options: Options, cache: Path) -> Settings:
    """Settings with BETO's vocabulary, a BERT of two layers of 256, batch 256, MSE to the given vectors."""
    assert options.tatoeba is not None and options.beto is not None  # noqa: PT018 -- why_no_real_data said so
    return config.load().override(
        {
            "corpus": [str(options.tatoeba / "spa.txt")],
            "targets": str(options.tatoeba / "targets.npy"),
            "architecture": "ViT-B-32",  # never loaded: the targets are there
            "backbone": str(options.beto),
            "backbone_weights": False,
            "hidden_size": 256,
            "hidden_layers": 2,
            "dropout": 0.0,
            "max_length": PADDED_LENGTH,
            "loss": "mse",
            "batch_size": 256,
            "cache_dir": str(cache),
            "threads": options.threads,
            "seed": options.seed,
        }
    )


class Ours:
    """Steps of `themo.training.loop.train`, with an equal share of an epoch's batches in each round.

    Args:
        settings: The settings.
        data: The training pairs.
        rounds_an_epoch: Number of rounds per epoch; each round has batches of all lengths.
    """

    def __init__(self, settings: Settings, data: TrainingData, rounds_an_epoch: int) -> None:
        training = settings.training
        self.settings, self.data = settings, data
        self.device = resolve_device(training.device)
        self.dtype = resolve_precision(training.precision, self.device)
        torch.manual_seed(training.seed)
        self.student = build_student(settings, data).to(self.device).train()
        optimizer = build_optimizer(self.student, training.optimizer, training.weight_decay)
        loss = settings.loss
        self.update = Updater(
            self.student,
            optimizer,
            build_loss(loss.loss, loss.temperature),
            self.dtype,
            contrastive=is_contrastive(loss.loss),
            clip_norm=training.clip_norm,
            parts=training.accumulate,
            compiled=training.compile,
        )
        self.means = RunningMeans()
        lengths = token_counts(data.train, settings.student.max_length)
        plan = plan_epoch(lengths, training.batch_size, training.seed, 0)
        by_length = sorted(plan, key=lambda chosen: int(lengths[chosen].max()))
        self.rounds = [by_length[start::rounds_an_epoch] for start in range(rounds_an_epoch)]
        self.tokens = [sum(int(lengths[chosen].sum()) for chosen in part) for part in self.rounds]
        self.step = 0

    def __call__(self, number: int) -> float:
        """Train a round; return its number of pairs."""
        training = self.settings.training
        n_pairs = 0
        part = self.rounds[number % len(self.rounds)]
        for i in np.random.default_rng(number + 1).permutation(len(part)):
            rate = learn_rate_at(
                self.step,
                peak=training.learn_rate,
                schedule=training.schedule,
                warmup_steps=training.warmup_steps,
                total_steps=100_000,
            )
            batch = assemble(self.data.train, part[i], self.settings.student.max_length).to(self.device)
            terms = self.update(batch, rate)
            self.means.add(terms, len(batch.ids), rate)
            self.step += 1
            n_pairs += len(batch.ids)
            if self.device.type == "cpu" or self.step % STEPS_BETWEEN_CHECKS == 0:
                self.means.check(self.step)
        return n_pairs


class Original:
    """The original's recipe on the same pairs and student.

    Args:
        settings: Settings; student, loss, batch size, learning rate and seed are used.
        data: The training pairs.
        rounds_an_epoch: Number of rounds per epoch.
    """

    def __init__(self, settings: Settings, data: TrainingData, rounds_an_epoch: int) -> None:
        training = settings.training
        self.batch_size = training.batch_size
        self.device = resolve_device(training.device)
        torch.manual_seed(training.seed)
        self.student = build_student(settings, data).to(self.device).train()
        self.optimizer = torch.optim.AdamW(self.student.parameters(), lr=training.learn_rate)
        self.loss_of = build_loss(settings.loss.loss, settings.loss.temperature)
        self.steps_a_round = max(1, len(data.train) // self.batch_size // rounds_an_epoch)
        # enough shuffled pairs for every round, tokenised and padded before the timing
        needed = self.steps_a_round * self.batch_size * (ROUNDS + 1)
        order = np.random.default_rng(training.seed).permutation(len(data.train))
        chosen = np.resize(order, needed)
        self.ids = torch.full((needed, PADDED_LENGTH), data.train.layout["pad"])
        self.mask = torch.zeros((needed, PADDED_LENGTH), dtype=torch.bool)
        for start in range(0, needed, 4096):
            batch = assemble(data.train, chosen[start : start + 4096], settings.student.max_length)
            rows, width = slice(start, start + len(batch.ids)), batch.ids.shape[1]
            self.ids[rows, :width] = batch.ids
            self.mask[rows, :width] = True if batch.mask is None else batch.mask
        self.targets = torch.from_numpy(data.train.targets.rows(data.train.rows[chosen]))
        self.position = 0

    def __call__(self, number: int) -> float:  # noqa: ARG002 -- rounds follow one another
        """Train a round; return its number of pairs."""
        for _ in range(self.steps_a_round):
            rows = slice(self.position, self.position + self.batch_size)
            self.position = (self.position + self.batch_size) % len(self.ids)
            ids, mask, targets = (t[rows].to(self.device) for t in (self.ids, self.mask, self.targets))
            loss, _ = self.loss_of(self.student(ids, mask), targets)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            loss.item()
        return self.steps_a_round * self.batch_size


def _row(corpus: str, settings: Settings, goal: float, options: Options, share: tuple[float, float]) -> Row:
    """A comparison as a row; `share`: parts of an epoch in a round of ours and of the original's."""
    data = prepare_data(settings)
    ours = Ours(settings, data, round(1 / share[0]))
    theirs = Original(settings, data, round(1 / share[1]))
    comparison = compare(f"training rate on {corpus}", ours, theirs, ROUNDS)
    parameters = sum(p.numel() for p in ours.student.parameters()) / 1e6
    detail = (
        f"{parameters:.1f} M parameters, batch {settings.training.batch_size}, {settings.loss.loss}, "
        f"ours in {str(ours.dtype).removeprefix('torch.')}"
    )
    return comparison.row(f"training rate, {corpus}: original's = 1", goal, "pairs", detail, options.seed)


def run_on_gpu(options: Options) -> list[Row]:
    """Rows for a student of BETO's size (12 layers of 768) on synthetic sentences, batch 256 and 2048."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        synthetic.write_backbone(folder, hidden_size=768, layers=12)
        synthetic.write_corpus(folder / "pairs.tsv", 200_000, options.seed)
        synthetic.write_targets(folder / "targets.npy", 200_000, 768, options.seed)
        settings = synthetic.settings_of(
            folder,
            max_length=PADDED_LENGTH,
            loss="mse",
            learn_rate=8e-5,
            batch_size=256,
            device="cuda",
            seed=options.seed,
        )
        data = prepare_data(settings)
        ours, theirs = Ours(settings, data, 10), Original(settings, data, 60)
        comparison = compare("training rate on the GPU", ours, theirs, GPU_ROUNDS)
        what = "110 M student, synthetic sentences"
        rows = [
            comparison.row(
                f"training rate, {what}: padded float32 = 1", GOAL_ON_GPU, "pairs", "batch 256", options.seed
            )
        ]
        del theirs
        for batch_size in (256, LARGE_BATCH):
            rows += _absolute_on_gpu(settings.override({"batch_size": batch_size}), data, what, options)
        return rows


def _absolute_on_gpu(settings: Settings, data: TrainingData, what: str, options: Options) -> list[Row]:
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    ours = Ours(settings, data, 5)
    ours(-1)
    rates = [rate_of(ours, number) for number in range(GPU_ROUNDS)]
    # forward and backward: 6 operations per token and matrix weight, attention itself excluded
    weights = sum(p.numel() for name, p in ours.student.named_parameters() if "embeddings" not in name)
    tokens_a_pair = sum(ours.tokens) / sum(len(chosen) for part in ours.rounds for chosen in part)
    rate = statistics.median(rates)
    share = 6 * weights * tokens_a_pair * rate / _peak_flops(ours.dtype)
    batch = f"batch {settings.training.batch_size}"
    goal = GOAL_SHARE_OF_GPU if settings.training.batch_size == LARGE_BATCH else None
    memory = torch.cuda.max_memory_allocated() / 1e9
    detail = f"{batch}, {tokens_a_pair:.1f} tokens per pair, {str(ours.dtype).removeprefix('torch.')}"
    seeds = (options.seed,)
    spread = (min(rates), max(rates))
    return [
        Row(f"training rate, {what}", rate, "pairs/s", spread=spread, detail=detail, seeds=seeds),
        Row("share of the GPU's matrix rate", 100 * share, "%", goal, detail=detail, seeds=seeds),
        Row("peak GPU memory", memory, "GB", detail=detail, seeds=seeds),
    ]


def _peak_flops(dtype: torch.dtype) -> float:
    """Measured operations per second of a large matrix product."""
    n, repeats = 8192, 20
    a = torch.randn(n, n, device="cuda", dtype=dtype)
    a @ a
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(repeats):
        a @ a
    torch.cuda.synchronize()
    return 2 * n**3 * repeats / (time.perf_counter() - start)
