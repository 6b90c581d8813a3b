"""A Ray actor that passes reports from the workers of a trial to the trial's actor, one at a time.

This module imports no PyTorch, so that its process starts quickly.
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
    """A report, with the files of its version directory if it has one."""

    report: TrialReport
    files: Files | None


class Mailbox:
    """Queue of messages: workers send and wait, the trial's actor receives and answers."""

    def __init__(self) -> None:
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self._answers: asyncio.Queue[None] = asyncio.Queue()

    async def send(self, message: Message) -> None:
        """Send a message and wait until it is answered."""
        await self._messages.put(message)
        await self._answers.get()

    async def take(self, seconds: float) -> Message | None:
        """The next message; None after the timeout."""
        try:
            return await asyncio.wait_for(self._messages.get(), seconds)
        except TimeoutError:
            return None

    async def answer(self) -> None:
        """Answer the last message, so that its sender continues."""
        await self._answers.put(None)

    async def is_empty(self) -> bool:
        """Whether no message is left."""
        return self._messages.empty()
