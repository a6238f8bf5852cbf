"""Axes of the returns of a trial, in words for progress lines, tables and pictures."""

from typing import NamedTuple


class Axis(NamedTuple):
    """Words for ``Evaluation.axis``.

    Attributes:
      unit: Header of a table column.
      label: Label of a picture axis.
      first, last: Names of the first and the last return of a trial.
    """

    unit: str
    label: str
    first: str
    last: str


AXES = {
    "adaptations": Axis(
        "adaptations", "adaptations to the task", "before adaptation", "after adaptation"
    ),
    "episodes": Axis("episodes", "episode of the trial", "first episode", "last episode"),
    "points": Axis(
        "env steps", "env steps in the task", "start of the lifetime", "end of the lifetime"
    ),
}


def score_label(score: str) -> str:
    """The label of a picture axis for a score."""
    return "return (undiscounted)" if score == "return" else score
