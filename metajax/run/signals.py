"""Ctrl-C and SIGTERM: the first signal ends the block and saves, a second Ctrl-C exits."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable

_WATCHED = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """A context that records the first SIGINT or SIGTERM instead of dying from it.

    A thread reads signals as the operating system delivers them, because Python's own
    handlers cannot run before the current compiled block returns.

    Args:
      announce: Function called with the number of the first signal, on that thread.

    Attributes:
      received: Number of the first signal, or None.
    """

    def __init__(self, announce: Callable[[int], None]) -> None:
        self.received: int | None = None
        self._announce = announce

    @property
    def exit_code(self) -> int:
        """Exit code of a process ended by the signal: 130 or 143."""
        return 128 + (self.received or 0)

    def __enter__(self) -> Interruption:
        # Only the main thread may set handlers; on other threads this context does nothing.
        self._active = threading.current_thread() is threading.main_thread()
        if self._active:
            self._receiver, self._sender = socket.socketpair()
            self._sender.setblocking(False)
            self._old_descriptor = signal.set_wakeup_fd(self._sender.fileno())
            self._old = {one: signal.signal(one, lambda *_: None) for one in _WATCHED}
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
                if number not in _WATCHED:
                    continue
                if self.received is None:
                    self.received = number
                    self._announce(number)
                elif number == signal.SIGINT:
                    _exit_now()


def _exit_now() -> None:
    if sys.stderr.isatty():
        sys.stderr.write("\x1b[?25h")  # the progress bar hides the cursor
    sys.stderr.write("\nstopped immediately; the last checkpoint is kept\n")
    sys.stderr.flush()
    os._exit(128 + signal.SIGINT)
