"""Progress on standard error: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

from metajax.run.axes import AXES


class Display:
    """Progress as plain lines: the first and last block, and one per ``interval`` between.

    Args:
      start: Iterations done before this process.
      total: Iterations in all.
      axis: Axis of the returns, see ``Evaluation``.
      score: Name of the returns, likewise.
      interval: Shortest time between two lines, in seconds.
    """

    def __init__(
        self,
        start: int,
        total: int,
        axis: str = "adaptations",
        score: str = "return",
        interval: float = 5.0,
    ) -> None:
        self.start = start
        self.total = total
        self.axis = axis
        self.score = score
        self._interval = interval
        self._next = 0.0
        self._began: tuple[float, int] | None = None

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, iteration: int, returns: Any, rate: float) -> None:
        """Shows the state of the run.

        Args:
          iteration: Iterations done.
          returns: Returns of the last iteration, ``[K + 1]`` along the axis; None if absent.
          rate: Environment steps per second.
        """
        now = time.monotonic()
        if now < self._next and iteration < self.total:
            return
        self._next = now + self._interval
        left = self._left(now, iteration)
        shown = _returns(returns, self.axis, self.score)
        self.message(f"iteration {iteration}/{self.total}  {shown}  {_rate(rate)}  {left}")

    def message(self, text: str) -> None:
        """Prints a line."""
        print(text, file=sys.stderr, flush=True)

    def _left(self, now: float, iteration: int) -> str:
        # The first block includes compilation, so its speed does not predict the rest.
        if self._began is None:
            self._began = (now, iteration)
        began, first = self._began
        if iteration <= first:
            return ""
        seconds = round((now - began) / (iteration - first) * (self.total - iteration))
        return f"{seconds // 60}:{seconds % 60:02d} left"


class Bar(Display):
    """Progress as a bar by rich; see ``Display``."""

    def __enter__(self) -> Bar:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[returns]}  {task.fields[rate]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task = self._progress.add_task(
            "train", total=self.total, completed=self.start, returns="compiling", rate=""
        )
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def update(self, iteration: int, returns: Any, rate: float) -> None:
        shown = _returns(returns, self.axis, self.score)
        self._progress.update(self._task, completed=iteration, returns=shown, rate=_rate(rate))

    def message(self, text: str) -> None:
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)


def display(start: int, total: int, axis: str, score: str) -> Display:
    """The display for standard error: ``Bar`` on a terminal, else ``Display``."""
    return (Bar if sys.stderr.isatty() else Display)(start, total, axis, score)


def _returns(returns: Any, axis: str, score: str) -> str:
    if returns is None or len(returns) == 0:
        return ""
    if len(returns) == 1:
        return f"{score} {returns[0]:.2f}"
    words = AXES[axis]
    if axis == "points":  # the first is of an episode that has hardly begun
        return f"{score} {returns[-1]:.2f} ({words.last})"
    return f"{score} {returns[0]:.2f} ({words.first}), {returns[-1]:.2f} ({words.last})"


def _rate(rate: float) -> str:
    return f"{rate / 1000:.0f} thousand steps/s" if rate >= 10_000 else f"{rate:.0f} steps/s"
