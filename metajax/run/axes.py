"""What returns of a trial count, in words: one place for lines, tables and pictures."""

from typing import NamedTuple


class Axis(NamedTuple):
    """Words for ``Evaluation.axis``.

    Attributes:
      unit: a column of a table.
      label: the axis of a picture.
      first: the first return of a trial.
      last: the last one.
    """

    unit: str
    label: str
    first: str
    last: str


AXES = {
    "adaptations": Axis(
        "gradient steps", "gradient steps on the task", "before adaptation", "after adaptation"
    ),
    "episodes": Axis("episodes", "episode of the trial", "first episode", "last episode"),
    "points": Axis(
        "env steps", "env steps in the task", "start of the lifetime", "end of the lifetime"
    ),
}


def score_label(score: str) -> str:
    """The name of a score with its unit, for the axis of a picture."""
    return "return (undiscounted)" if score == "return" else score
