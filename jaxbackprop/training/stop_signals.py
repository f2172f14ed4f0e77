"""SIGINT and SIGTERM during training: noted when they come, obeyed at the next step, once the run is saved."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class Terminated(SystemExit):
    """SIGTERM ended the training; the exit status is 143, as a shell expects of a process that it ended."""

    def __init__(self, message: str):
        super().__init__(128 + signal.SIGTERM)
        self.message = message

    def __str__(self) -> str:
        return self.message


class StopSignals:
    """While entered, the first SIGINT or SIGTERM is noted in `received`; a second SIGINT interrupts at once.

    A handler that the program installed itself is left alone, and so is everything outside the main thread, where
    Python allows no handlers.
    """

    def __init__(self):
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():
            for number, default in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
                if signal.getsignal(number) == default:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = number

    def stop(self, message: str) -> None:
        """End the training as the signal that was received asks; nothing happens where none was."""
        if self.received == signal.SIGTERM:
            raise Terminated(message)
        if self.received is not None:
            raise KeyboardInterrupt(message)
