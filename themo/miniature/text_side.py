"""The text tower's side of the teacher's training, in this process or a separate one.

Images and texts meet only in the loss: each side needs only vectors and gradients of the other. So the towers
can train in two processes with the same operations as in one, and the weights are bitwise equal for any
number of cores. The text tower is cheaper; its side also draws the scenes and pictures, while the image tower
encodes the previous batch.

A separate process is started as `python -m themo.miniature.text_side`. It reads its task as a line of JSON
from standard input, then gradients; it writes batches, vectors and at last weights to standard output.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple, NoReturn, Protocol, cast

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor

from themo.config.miniature import MiniatureRecipe
from themo.miniature.drawing import CELL_PIXELS, GRID, draw, place
from themo.miniature.families import N_MEMBERS, family_batch
from themo.miniature.grammar import english_sentence
from themo.miniature.scenes import World
from themo.miniature.tower_training import TowerTraining, one_thread
from themo.miniature.towers import EMBEDDED, TextTower, matrix_product_dtype, patches
from themo.miniature.vocabulary import encoder, vocabulary_size
from themo.process.devices import cores

WORTH_STEPS = 200
"""Least number of steps for a separate process, whose start takes time."""

_PATCHES = (GRID * GRID, 3 * CELL_PIXELS**2)


class Batch(NamedTuple):
    """The images of a batch, family after family within each kind of twin.

    Attributes:
        patches_BPK: (B, P, K) uint8, as `patches` gives them.
        numbers_B: (B,) int64, equal for captions of the same content.
    """

    patches_BPK: Tensor
    numbers_B: Tensor


class TextSide(Protocol):
    """Interface for the image tower's side; each step calls each of the first three once, in this order."""

    def batch(self) -> Batch:
        """Return the images of the next batch."""

    def vectors(self) -> Tensor:
        """Return (B, E) float32, the vectors of its captions, of length 1 and without a graph."""

    def update(self, gradient_BE: Tensor) -> None:
        """Make a step by the gradient of the loss by these vectors."""

    def weights(self) -> dict[str, Tensor]:
        """Return the text tower's weights after the last step."""


@contextmanager
def text_side(recipe: MiniatureRecipe, bpe_path: Path) -> Iterator[TextSide]:
    """Open the text tower's side, in a separate process if that saves time and a core is free.

    Args:
        recipe: Seed, steps and learning rates.
        bpe_path: Vocabulary written by `write_bpe`.
    """
    if cores() > 1 and recipe.teacher_steps >= WORTH_STEPS:
        with TextProcess(recipe, bpe_path) as process:
            yield process
    else:
        yield LocalTextSide(recipe, bpe_path)


class LocalTextSide:
    """The text tower's side in this process, which is expected to compute with one thread."""

    def __init__(self, recipe: MiniatureRecipe, bpe_path: Path) -> None:
        self._recipe = recipe
        self._world = World(recipe.seed)
        self._rng = np.random.default_rng([recipe.seed, 1])
        self._words = random.Random(recipe.seed)  # noqa: S311
        self._encode = encoder(bpe_path)
        self._dtype = matrix_product_dtype()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self._tower = TextTower(vocabulary_size(bpe_path))
        self._training = TowerTraining(self._tower, recipe)
        self._tokens_BL = torch.empty(0)
        self._vectors_BE = torch.empty(0)

    def batch(self) -> Batch:
        """Draw the next batch; return its images."""
        recipe = self._recipe
        scenes, contents, numbers = family_batch(
            self._world, recipe.teacher_families, recipe.training_single_group_percent, self._rng
        )
        self._tokens_BL = self._encode(
            [english_sentence(content, self._words.choice) for content in contents]
        )
        pictures = draw(scenes, place(scenes, self._rng))
        return Batch(patches(pictures, CELL_PIXELS), torch.from_numpy(numbers))

    def vectors(self) -> Tensor:
        """Return the vectors of the captions of the last batch."""
        self._vectors_BE = self._tower(self._tokens_BL, self._dtype)
        return self._vectors_BE.detach()

    def update(self, gradient_BE: Tensor) -> None:
        """Make a step by the gradient of the last vectors."""
        self._training.update([self._vectors_BE], [gradient_BE])

    def weights(self) -> dict[str, Tensor]:
        """Return the weights."""
        return self._tower.state_dict()


class TextProcess:
    """The text tower's side in a separate process, which ends with this one.

    Args:
        recipe: Seed, steps and learning rates.
        bpe_path: The vocabulary.
    """

    def __init__(self, recipe: MiniatureRecipe, bpe_path: Path) -> None:
        self._n = N_MEMBERS * recipe.teacher_families
        # importable in the child, however the parent found it
        package_folder = str(Path(__file__).parents[2])
        search_path = os.pathsep.join([package_folder, *filter(None, [os.environ.get("PYTHONPATH")])])
        self._process = subprocess.Popen(
            [sys.executable, "-m", __spec__.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": search_path},
        )
        self._to = cast("IO[bytes]", self._process.stdin)
        self._from = cast("IO[bytes]", self._process.stdout)
        task = {"recipe": recipe.model_dump(mode="json"), "bpe_path": str(bpe_path.absolute())}
        self._write(json.dumps(task).encode() + b"\n")

    def __enter__(self) -> TextProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._to, self._from):
            with suppress(BrokenPipeError):  # unsent data are lost with the process
                pipe.close()

    def batch(self) -> Batch:
        """Receive the images of the next batch."""
        shape = (self._n, *_PATCHES)
        patches_BPK = torch.frombuffer(self._read(shape[0] * shape[1] * shape[2]), dtype=torch.uint8)
        numbers_B = torch.frombuffer(self._read(8 * self._n), dtype=torch.int64)
        return Batch(patches_BPK.view(shape), numbers_B)

    def vectors(self) -> Tensor:
        """Receive the vectors of its captions."""
        return torch.frombuffer(self._read(4 * self._n * EMBEDDED), dtype=torch.float32).view(self._n, -1)

    def update(self, gradient_BE: Tensor) -> None:
        """Send the gradient."""
        self._write(_bytes(gradient_BE))

    def weights(self) -> dict[str, Tensor]:
        """Receive the weights."""
        n_bytes = int.from_bytes(self._read(8), "little")
        return load(bytes(self._read(n_bytes)))

    def _read(self, n_bytes: int) -> bytearray:
        return _read(self._from, n_bytes) or self._fail()

    def _write(self, data: bytes) -> None:
        try:
            self._to.write(data)
            self._to.flush()
        except BrokenPipeError:
            self._fail()

    def _fail(self) -> NoReturn:
        code = self._process.wait()
        raise RuntimeError(f"the process that trains the teacher's text tower ended with code {code}")


def _read(pipe: IO[bytes], n_bytes: int) -> bytearray:
    """Read `n_bytes` bytes, or none if the other process has ended."""
    data = bytearray(n_bytes)
    return data if pipe.readinto(data) == n_bytes else bytearray()  # type: ignore[attr-defined]


def _bytes(values: Tensor) -> bytes:
    return values.contiguous().numpy().tobytes()


def main() -> None:
    """Serve the image tower's side over standard input and output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C and ends this process
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # redirects the output of libraries
    task = json.loads(sys.stdin.buffer.readline())
    recipe = MiniatureRecipe(**task["recipe"])
    with one_thread():
        side = LocalTextSide(recipe, Path(task["bpe_path"]))
        batch = side.batch()
        for step in range(recipe.teacher_steps):
            for part in batch:
                out.write(_bytes(part))
            out.flush()
            out.write(_bytes(side.vectors()))
            out.flush()
            if step + 1 < recipe.teacher_steps:
                batch = side.batch()  # while the other side encodes these pictures
            gradient = _read(sys.stdin.buffer, 4 * len(batch.numbers_B) * EMBEDDED)
            if not gradient:
                return
            side.update(torch.frombuffer(gradient, dtype=torch.float32).view(len(batch.numbers_B), -1))
    weights = save(side.weights())
    out.write(len(weights).to_bytes(8, "little") + weights)
    out.flush()


if __name__ == "__main__":
    main()
