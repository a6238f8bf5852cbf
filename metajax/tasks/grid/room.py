"""Options of families of square rooms."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from metajax.core.options import AtLeast, Count, Options


@dataclasses.dataclass(frozen=True, kw_only=True)
class Room(Options):
    """Options of every family of square rooms.

    Attributes:
      size: Side of the room in cells.
      observation: Encoding of the position: "coordinates" for x and y scaled to
        [-1, 1], "one-hot" for the cell.
      episode_length: Time limit in steps.
      num_episodes: Episodes per trial.
    """

    size: Annotated[int, AtLeast(2)] = 9
    observation: Literal["coordinates", "one-hot"] = "coordinates"
    episode_length: Count = 20
    num_episodes: Count = 10
