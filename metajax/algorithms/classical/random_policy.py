"""Actions at random."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from metajax.algorithms.classical.base import Classical


@dataclasses.dataclass(frozen=True, kw_only=True)
class RandomPolicy(Classical):
    """Random policy: every discrete action as likely as any other.

    Its mode, which ``explore=False`` measures, is always to take the first.
    """

    name: ClassVar[str] = "random"

    def randomness(self):
        return 1.0

    def check_held_out(self, given, planned):
        """It plans nothing."""

    def rule(self, spec):
        import jax.numpy as jnp

        from metajax.core.family import Discrete
        from metajax.inner.classical.scoring import Rule

        self.needs(spec, isinstance(spec.action_space, Discrete), "a family of discrete actions")
        assert isinstance(spec.action_space, Discrete)
        scores = jnp.zeros(spec.action_space.num_actions)
        return Rule(lambda: (), lambda noise, memory, seen: (scores, memory))
