"""Acting on what is known, and sometimes at random."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from metajax.algorithms.classical.greedy import Greedy
from metajax.core.options import Fraction


@dataclasses.dataclass(frozen=True, kw_only=True)
class EpsilonGreedy(Greedy):
    """Epsilon-greedy: the greedy method with a random action in a fraction of the steps.

    Source: as in Duan et al. (2016), one of whose baselines it is.

    Attributes:
      exploration: Probability of a uniformly random action; Duan et al. (2016) try 0, 0.1, ... 1.
    """

    exploration: Fraction = 0.1

    name: ClassVar[str] = "epsilon-greedy"

    def randomness(self):
        return self.exploration
