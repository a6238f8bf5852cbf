"""Acting on what is known, and sometimes at random."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from metajax.algorithms.classical.greedy import Greedy
from metajax.core.options import check_number


@dataclasses.dataclass(frozen=True, kw_only=True)
class EpsilonGreedy(Greedy):
    """The greedy method, with a uniformly random action in a share of the steps.

    Attributes:
      exploration: that share; Duan et al. (2016) try 0, 0.1, ... 1.
    """

    exploration: float = 0.1

    name: ClassVar[str] = "epsilon-greedy"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("exploration", self.exploration, minimum=0, maximum=1)

    def randomness(self):
        return self.exploration
