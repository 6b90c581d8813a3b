import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import SettingsFactory
from torch import Tensor

from themo.config.sections import LossSettings, TrainingSettings
from themo.data.batches import Batch, assemble
from themo.data.dataset import TrainingData
from themo.models.student import Student
from themo.training.loop import build_student
from themo.training.losses import build_loss, is_contrastive
from themo.training.nesting import Nesting, nest
from themo.training.optimization import RunningMeans, Updater, build_optimizer


@pytest.fixture
def student(settings: SettingsFactory, tiny_data: TrainingData) -> Student:
    torch.manual_seed(0)
    return build_student(settings(projection_bias=True), tiny_data).train()


def batch_of(data: TrainingData, n: int) -> Batch:
    return assemble(data.train, np.arange(n), 16)


def updater(
    student: Student, optimizer: torch.optim.Optimizer, loss: str, config: TrainingSettings
) -> Updater:
    return Updater(
        student,
        optimizer,
        build_loss(loss, 0.1),
        torch.float32,
        contrastive=is_contrastive(loss),
        clip_norm=config.clip_norm,
        parts=config.accumulate,
        compiled=config.compile,
    )


def stepped(
    student: Student, batch: Batch, loss: str = "mse", rate: float = 1e-2, **leaves: Any
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Weights after one update of a copy, and its reported losses."""
    student = copy.deepcopy(student)
    config = TrainingSettings(**leaves)
    optimizer = build_optimizer(student, config.optimizer, config.weight_decay)
    terms = updater(student, optimizer, loss, config)(batch, rate)
    assert all(p.grad is None for p in student.parameters())
    return student.state_dict(), terms


@pytest.mark.parametrize("loss", ["mse", "cosine", "cosine+0.5*mse", "infonce", "mse+0.1*infonce"])
@pytest.mark.parametrize(("n", "accumulate"), [(8, 2), (8, 8), (7, 3), (5, 4)])
def test_accumulation_equals_the_whole_batch(
    student: Student, tiny_data: TrainingData, loss: str, n: int, accumulate: int
) -> None:
    """Gradients are compared through plain updates: no clipping; Adam would blow up the rounding."""
    batch = batch_of(tiny_data, n)
    gradients, losses = [], []
    for parts in (1, accumulate):
        model = copy.deepcopy(student)
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        config = TrainingSettings(accumulate=parts, clip_norm=None)
        terms = updater(model, optimizer, loss, config)(batch, 1.0)
        gradients.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
        losses.append(terms)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(losses[0], losses[1])


@pytest.mark.parametrize("loss", ["mse", "cosine+0.1*infonce"])
def test_nested_widths_of_parts_equal_those_of_the_batch(
    student: Student, tiny_data: TrainingData, loss: str
) -> None:
    nesting = Nesting.of(LossSettings(nested_widths=(3, 6), nested_weights=(2.0, 0.5)), tiny_data)
    assert nesting is not None
    batch, gradients = batch_of(tiny_data, 7), []
    for parts in (1, 3):
        model = copy.deepcopy(student)
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        loss_of = nest(build_loss(loss, 0.1), nesting)
        contrastive = is_contrastive(loss)
        update = Updater(model, optimizer, loss_of, torch.float32, contrastive=contrastive, parts=parts)
        update(batch, 1.0)
        gradients.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-6)


_FULL = torch.OutOfMemoryError("CUDA out of memory")


class SmallMemory(torch.nn.Module):
    """A student on a device without memory for more than some pairs."""

    def __init__(self, student: Student, n_pairs: int, error: RuntimeError = _FULL) -> None:
        super().__init__()
        self.student = student
        self.n_pairs = n_pairs
        self.error = error

    def forward(self, ids_BL: Tensor, mask_BL: Tensor | None) -> Tensor:
        if len(ids_BL) > self.n_pairs and torch.is_grad_enabled():
            self.student(ids_BL[:1], None)  # what has been drawn at random until then must not matter
            raise self.error
        vectors: Tensor = self.student(ids_BL, mask_BL)
        return vectors


@pytest.mark.parametrize("loss", ["cosine", "infonce"])
def test_a_batch_that_does_not_fit_is_cut(
    settings: SettingsFactory, tiny_data: TrainingData, loss: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Once and for all; with dropout the parts that did fit are drawn as if they had been wanted."""
    batch = batch_of(tiny_data, 7)
    weights = []
    for accumulate, fits in ((4, 7), (1, 3)):
        torch.manual_seed(0)
        model = build_student(settings(dropout=0.3), tiny_data).train()
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        config = TrainingSettings(accumulate=accumulate, clip_norm=None)
        update = updater(SmallMemory(model, fits), optimizer, loss, config)  # type: ignore[arg-type]
        for _ in range(2):
            update(batch, 1.0)
        assert update.parts == 4
        weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.equal(weights[0], weights[1])
    assert caplog.messages == [
        f"A batch of 7 pairs does not fit into device memory: split into {n} microbatches" for n in (2, 4)
    ]


def test_both_passes_have_the_same_dropout(settings: SettingsFactory, tiny_data: TrainingData) -> None:
    """Those of a contrastive loss: for the vectors, and for the gradients of the microbatches."""
    torch.manual_seed(0)
    student = build_student(settings(dropout=0.5), tiny_data).train()
    seen: list[Tensor] = []
    student.register_forward_hook(lambda _module, _inputs, vectors: seen.append(vectors.detach()))
    optimizer = torch.optim.SGD(student.parameters(), lr=1.0)
    updater(student, optimizer, "infonce", TrainingSettings(accumulate=2))(batch_of(tiny_data, 8), 1.0)
    assert len(seen) == 4
    assert torch.equal(seen[0], seen[2])
    assert torch.equal(seen[1], seen[3])


@pytest.mark.parametrize("status", ["CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED"])
def test_a_batch_is_cut_where_a_library_has_no_memory_too(
    student: Student, tiny_data: TrainingData, status: str
) -> None:
    optimizer = torch.optim.SGD(student.parameters(), lr=1.0)
    small = SmallMemory(student, 3, RuntimeError(f"CUDA error: {status} when calling `create(handle)`"))
    update = updater(small, optimizer, "mse", TrainingSettings())  # type: ignore[arg-type]
    update(batch_of(tiny_data, 7), 1.0)
    assert update.parts == 4


def test_another_error_is_not_met_with_smaller_parts(student: Student, tiny_data: TrainingData) -> None:
    optimizer = torch.optim.SGD(student.parameters(), lr=1.0)
    broken = SmallMemory(student, 0, RuntimeError("shapes cannot be multiplied"))
    update = updater(broken, optimizer, "mse", TrainingSettings())  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="shapes"):
        update(batch_of(tiny_data, 3), 1.0)
    assert update.parts == 1


def test_a_single_pair_that_does_not_fit(student: Student, tiny_data: TrainingData) -> None:
    optimizer = torch.optim.SGD(student.parameters(), lr=1.0)
    update = updater(SmallMemory(student, 0), optimizer, "mse", TrainingSettings())  # type: ignore[arg-type]
    with pytest.raises(torch.OutOfMemoryError):
        update(batch_of(tiny_data, 3), 1.0)


@pytest.mark.slow
def test_a_compiled_student_learns_the_same(student: Student, tiny_data: TrainingData) -> None:
    weights, terms = stepped(student, batch_of(tiny_data, 8))
    compiled, told = stepped(student, batch_of(tiny_data, 8), compile=True)
    torch.testing.assert_close(told["loss"], terms["loss"], rtol=1e-4, atol=1e-6)
    for name, tensor in weights.items():  # Adam's first step is the gradient's sign: rounding may turn it
        assert (compiled[name] - tensor).abs().mean() < 1e-3, name


@pytest.mark.slow
def test_without_a_compiler_training_continues(
    student: Student,
    tiny_data: TrainingData,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    torch._dynamo.reset()
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", ("nosuch-compiler",))
    weights, _ = stepped(student, batch_of(tiny_data, 8))
    plain, _ = stepped(student, batch_of(tiny_data, 8), compile=True)
    assert "torch.compile cannot compile the student" in caplog.text
    for name, tensor in weights.items():
        assert torch.equal(plain[name], tensor), name


def test_reported_losses_are_those_before_the_update(student: Student, tiny_data: TrainingData) -> None:
    batch = batch_of(tiny_data, 8)
    _, terms = stepped(student, batch, loss="cosine+0.5*mse")
    total, expected = build_loss("cosine+0.5*mse", 0.1)(student(batch.ids, batch.mask), batch.targets)
    assert list(terms) == ["loss", "cosine", "mse"]
    torch.testing.assert_close(terms["loss"], total.detach())
    torch.testing.assert_close({"cosine": terms["cosine"], "mse": terms["mse"]}, expected)


@pytest.mark.parametrize("clip_norm", [1e-3, 1e9])
def test_clipping_is_torchs(student: Student, tiny_data: TrainingData, clip_norm: float) -> None:
    batch = batch_of(tiny_data, 8)
    moved = []
    for clip in (clip_norm, None):
        model = copy.deepcopy(student)
        config = TrainingSettings(clip_norm=clip)
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        if clip is None:
            loss, _ = build_loss("mse", 0.1)(model(batch.ids, batch.mask), batch.targets)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
            optimizer.step()
        else:
            updater(model, optimizer, "mse", config)(batch, 1.0)
        moved.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    torch.testing.assert_close(moved[0], moved[1])


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_only_matrices_decay(student: Student, optimizer: str) -> None:
    groups = build_optimizer(student, optimizer, 0.3).param_groups  # type: ignore[arg-type]
    assert [group["weight_decay"] for group in groups] == [0.3, 0.0]
    names = {id(p): name for name, p in student.named_parameters()}
    decayed, others = ({names[id(p)] for p in group["params"]} for group in groups)
    assert "projection.weight" in decayed
    assert all(name.endswith("bias") or "LayerNorm" in name for name in others)
    assert decayed | others == set(names.values())


def test_adam_and_adamw_differ_in_their_decay(student: Student, tiny_data: TrainingData) -> None:
    batch = batch_of(tiny_data, 8)
    adam, adamw = (
        stepped(student, batch, optimizer=name, weight_decay=0.5)[0]["projection.weight"]
        for name in ("adam", "adamw")
    )
    before = student.projection.weight.detach()
    # the first step of either moves by the rate; AdamW shrinks the weights by rate * decay besides
    plain = stepped(student, batch, optimizer="adamw", weight_decay=0.0)[0]["projection.weight"]
    torch.testing.assert_close(adamw, plain - 1e-2 * 0.5 * before, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(adam, adamw, rtol=1e-4, atol=1e-6)


def test_the_rate_is_the_one_given(student: Student, tiny_data: TrainingData) -> None:
    batch = batch_of(tiny_data, 8)
    after, _ = stepped(student, batch, rate=0.0, learn_rate=1.0, weight_decay=0.5)
    for name, value in student.state_dict().items():
        assert torch.equal(after[name], value)


def test_running_means_are_over_pairs() -> None:
    means = RunningMeans()
    means.add({"loss": torch.tensor(1.0), "mse": torch.tensor(2.0)}, 3, rate=1e-3)
    means.add({"loss": torch.tensor(5.0), "mse": torch.tensor(4.0)}, 1, rate=1e-3)
    means.check(2)
    assert means.last == 5.0
    assert means.take() == {"loss": 2.0, "mse": 2.5}
    means.add({"loss": torch.tensor(7.0)}, 2, rate=1e-3)
    assert means.take() == {"loss": 7.0}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_the_first_loss_that_is_not_finite_is_named(value: float) -> None:
    means = RunningMeans()
    for rate in (1e-3, 2e-3):
        means.add({"loss": torch.tensor(1.0)}, 4, rate)
    means.check(2)
    for loss, rate in ((1.0, 3e-3), (value, 4e-3), (math.nan, 5e-3), (1.0, 6e-3)):
        means.add({"loss": torch.tensor(loss)}, 4, rate)
    with pytest.raises(FloatingPointError, match=rf"^loss is {value} at step 4 \(learn_rate=4\.0e-03\)$"):
        means.check(6)


def test_a_second_check_of_a_step_keeps_the_loss() -> None:
    means = RunningMeans()
    means.add({"loss": torch.tensor(3.0)}, 4, rate=1e-3)
    means.check(1)
    means.check(1)
    assert means.last == 3.0
