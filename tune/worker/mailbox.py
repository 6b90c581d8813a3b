"""What the workers of a trial and its actor share: an actor of Ray that passes reports on, one at a time.

A module of its own, without PyTorch, so that its process is there at once.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tune.worker.trial_report import TrialReport

Files = dict[str, npt.NDArray[np.uint8]]
"""Contents of files by their paths below a folder."""


@dataclass(frozen=True)
class Message:
    """A report, and the files of a version directory, if there is one with it."""

    report: TrialReport
    files: Files | None


class Mailbox:
    """Workers tell and wait; the trial's actor takes and answers."""

    def __init__(self) -> None:
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self._answers: asyncio.Queue[None] = asyncio.Queue()

    async def tell(self, message: Message) -> None:
        """Tell something and wait until it has been decided on."""
        await self._messages.put(message)
        await self._answers.get()

    async def take(self, seconds: float) -> Message | None:
        """The next message, if there is one in time."""
        try:
            return await asyncio.wait_for(self._messages.get(), seconds)
        except TimeoutError:
            return None

    async def answer(self) -> None:
        """Let whoever told the last message go on."""
        await self._answers.put(None)

    async def is_empty(self) -> bool:
        """Whether all has been taken."""
        return self._messages.empty()
