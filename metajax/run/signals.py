"""Ctrl-C and SIGTERM: what they end at once, and what is finished and saved first."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Self


class Watch:
    """A context in which signals are received as the operating system delivers them.

    A thread receives them, because Python's own handlers cannot run before a compiled block
    returns.

    Args:
      numbers: Numbers of the signals.
      receive: Function called with the number of each, on the thread.
    """

    def __init__(self, numbers: Sequence[int], receive: Callable[[int], None]) -> None:
        self._numbers, self._receive = numbers, receive

    def __enter__(self) -> Self:
        # Only the main thread may set handlers; on other threads this context does nothing.
        self._active = threading.current_thread() is threading.main_thread()
        if self._active:
            self._receiver, self._sender = socket.socketpair()
            self._sender.setblocking(False)
            self._old_descriptor = signal.set_wakeup_fd(self._sender.fileno())
            self._old = {one: signal.signal(one, lambda *_: None) for one in self._numbers}
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._active:
            for one, handler in self._old.items():
                signal.signal(one, handler)
            signal.set_wakeup_fd(self._old_descriptor)
            self._sender.close()
            self._thread.join()
            self._receiver.close()

    def _watch(self) -> None:
        while data := self._receiver.recv(16):
            for number in data:
                if number in self._numbers:
                    self._receive(number)


class Interruption(Watch):
    """A context that records the first SIGINT or SIGTERM; a second one ends the process at once.

    Args:
      announce: Function called with the number of the first signal, on another thread.
      last_words: Function called before the process ends at once: what it says then.

    Attributes:
      received: Number of the first signal, or None.
    """

    def __init__(self, announce: Callable[[int], None], last_words: Callable[[], str]) -> None:
        super().__init__((signal.SIGINT, signal.SIGTERM), self._record)
        self.received: int | None = None
        self._announce, self._last_words = announce, last_words

    @property
    def exit_code(self) -> int:
        """Exit code of a process ended by the signal: 130 or 143."""
        return 128 + (self.received or 0)

    def _record(self, number: int) -> None:
        if self.received is not None:
            _exit_now(number, f"stopped immediately; {self._last_words()}")
        self.received = number
        self._announce(number)


def termination() -> Watch:
    """A context in which SIGTERM ends the process at once, with a message and exit code 143."""
    return Watch((signal.SIGTERM,), lambda number: _exit_now(number, "stopped by SIGTERM"))


@contextlib.contextmanager
def raising(number: int, error: BaseException) -> Iterator[None]:
    """A context in which a signal raises an error, once a compiled block has returned."""

    def handle(*_: object) -> None:
        raise error

    descriptor = signal.set_wakeup_fd(-1)  # a ``Watch`` outside of this one would act first
    before = signal.signal(number, handle)
    try:
        yield
    finally:
        signal.signal(number, before)
        signal.set_wakeup_fd(descriptor)


def _exit_now(number: int, words: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write("\x1b[?25h\n")  # the progress bar hides the cursor
    sys.stderr.write(f"metajax: {words}\n")
    sys.stderr.flush()
    os._exit(128 + number)
