"""SIGINT and SIGTERM as a wish: work ends at the next clean place, instead of in the middle of something."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


class Interrupted(KeyboardInterrupt):
    """A signal stopped the work, and what was done is safe.

    Args:
        message: what the user reads: where the state is and how to go on.
        signal: its number; the exit code will be 128 more, as shells have it.
    """

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal


@dataclass
class Interruption:
    """Whether somebody wants the work to end.

    Attributes:
        signal: the number of the signal that came, or None.
        parent: the process that started this one, if it matters: when it is gone, that counts as SIGTERM.
    """

    signal: int | None
    parent: int | None

    @property
    def wanted(self) -> bool:
        """Whether to end at the next clean place."""
        if self.signal is None and self.parent not in (None, os.getppid()):
            self.signal = signal.SIGTERM
        return self.signal is not None


@contextmanager
def interruptible(orphans_end: bool) -> Iterator[Interruption]:
    """Note SIGINT and SIGTERM instead of dying of them; the same signal once more kills as usual.

    Args:
        orphans_end: also end when the parent process is gone. For workers, whose launcher hands the signals on (perhaps
            twice, so that there a second one changes nothing).
    """
    found = Interruption(None, os.getppid() if orphans_end else None)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        found.signal = number
        if not orphans_end:
            signal.signal(number, before[signal.Signals(number)])

    try:
        for number in before:
            signal.signal(number, note)
        yield found
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
