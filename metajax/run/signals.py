"""Ctrl-C and SIGTERM: the first ends the block and saves, a second Ctrl-C exits."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable

_WATCHED = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """While it is entered, remembers a signal instead of dying of it.

    A thread reads the signals as the operating system delivers them, since
    Python's own handlers have to wait for as long as a compiled block runs.

    Args:
      announce: called with the first signal's number, on that thread.

    Attributes:
      received: the first signal's number, or ``None``.
    """

    def __init__(self, announce: Callable[[int], None]) -> None:
        self.received: int | None = None
        self._announce = announce

    @property
    def exit_code(self) -> int:
        """What a process ended by the signal returns: 130 or 143."""
        return 128 + (self.received or 0)

    def __enter__(self) -> Interruption:
        # Only the main thread may set handlers; elsewhere nothing is watched.
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
    sys.stderr.write("\nstopped at once; the last checkpoint is kept\n")
    sys.stderr.flush()
    os._exit(128 + signal.SIGINT)
