"""Progress of training on standard error: a bar on a terminal, sparse lines elsewhere."""

from __future__ import annotations

import collections
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from metajax.core.axes import AXES
from metajax.core.quantities import count, duration

if TYPE_CHECKING:
    from metajax.core.algorithm import MetaAlgorithm


_PAUSE = 5.0
"""Shortest time between two lines, in seconds, until a twentieth of the time so far is longer."""


class Lines:
    """Progress as plain lines: the first and last block, and ever fewer between.

    Args:
      algorithm: What is trained.
      start: Iterations done before this process.
      total: Iterations in all.
    """

    def __init__(self, algorithm: MetaAlgorithm, start: int, total: int) -> None:
        self.start, self.total, self._algorithm = start, total, algorithm
        # About as the curves of the pictures are smoothed.
        smoothed = min(max(1, total // 40), 1000)
        self._latest: collections.deque[Any] = collections.deque(maxlen=smoothed)
        self._opened = self._clock = time.monotonic()
        self._shown: float | None = None
        self._first: tuple[float, int] | None = None

    def __enter__(self) -> Lines:
        smoothed = self._latest.maxlen or 1
        means = f"; numbers are means of the last {smoothed} iterations" if smoothed > 1 else ""
        if self.start < self.total:
            self.message(f"iteration {self.start}/{self.total}  compiling{means}")
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, iteration: int, infos: dict[str, Any]) -> None:
        """Shows the state of the run.

        Args:
          iteration: Iterations done.
          infos: Reports of the block that ends there, stacked ``[iterations, ...]``.
        """
        now = time.monotonic()
        before, self._clock = self._clock, now
        name = self._algorithm.headline[0] if self._algorithm.headline else "returns"
        self._latest.extend(infos.get(name, ()))
        rate = left = ""
        # The first block includes compilation, so its speed does not predict the rest.
        if self._first is None:
            self._first = (now, iteration)
        else:
            steps = float(np.sum(infos.get("env_steps", 0)))
            rate = f"{count(steps / max(now - before, 1e-9))} steps/s"
            began, done = self._first
            seconds = (now - began) / (iteration - done) * (self.total - iteration)
            left = f"about {duration(seconds)} left" if seconds else ""
        self._show(iteration, "  ".join(filter(None, (self._headline(), rate))), left)

    def message(self, text: str) -> None:
        """Prints a line."""
        print(text, file=sys.stderr, flush=True)

    def _show(self, iteration: int, numbers: str, left: str) -> None:
        elapsed = self._clock - self._opened
        pause = max(_PAUSE, elapsed / 20)
        if self._shown is None or self._clock - self._shown >= pause or iteration >= self.total:
            self._shown = self._clock
            times = ", ".join(filter(None, (f"{duration(elapsed)} elapsed", left)))
            words = (f"iteration {iteration}/{self.total}", numbers, times)
            self.message("  ".join(filter(None, words)))

    def _headline(self) -> str:
        """The smoothed number, or first and last number of a trial, that training improves."""
        if not self._latest:
            return ""
        values = np.mean(np.asarray(self._latest, np.float64), axis=0)
        if self._algorithm.headline:
            return f"{self._algorithm.headline[1]} {values:.4g}"
        spec, axis = self._algorithm.family.spec, self._algorithm.axis
        if axis == "episodes" and getattr(spec, "episode_length", None) == 1:
            return f"total reward {values.sum():.2f}"
        if len(values) == 1:
            return f"{spec.score} {values[0]:.2f}"
        words = AXES[axis]
        last = f"{values[-1]:.2f} ({words.last})"
        if axis == "points":  # the first is of an episode that has hardly begun
            return f"{spec.score} {last}"
        return f"{spec.score} {values[0]:.2f} ({words.first}), {last}"


class Bar(Lines):
    """Progress as a bar by rich, and below it the numbers; see ``Lines``."""

    def __enter__(self) -> Bar:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
        from rich.table import Column
        from rich.text import Text

        class Times(ProgressColumn):
            def render(self, task: Task) -> Text:
                elapsed = f"{duration(int(task.elapsed or 0))} elapsed"
                return Text(", ".join(filter(None, (elapsed, task.fields["left"]))))

        class WithNumbers(Progress):
            def get_renderables(self):
                yield from super().get_renderables()
                yield from (Text(task.fields["numbers"]) for task in self.tasks)

        self._progress = WithNumbers(
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            BarColumn(bar_width=None),
            Times(Column(no_wrap=True)),
            console=Console(stderr=True),
        )
        task: Any = {"total": self.total, "completed": self.start}
        self._task = self._progress.add_task("train", **task, numbers="compiling", left="")
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def message(self, text: str) -> None:
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _show(self, iteration: int, numbers: str, left: str) -> None:
        self._progress.update(self._task, completed=iteration, numbers=numbers, left=left)


def progress(algorithm: MetaAlgorithm, start: int, total: int) -> Lines:
    """The progress for standard error: ``Bar`` on a terminal, else ``Lines``."""
    return (Bar if sys.stderr.isatty() else Lines)(algorithm, start, total)
