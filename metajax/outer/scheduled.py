"""An outer rule that changes with the meta-iterations."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from metajax.core.algorithm import Outer
from metajax.core.family import Tree


class Scheduled(NamedTuple):
    """The carry of a rule that counts.

    Attributes:
      iteration: Int32, meta-iterations so far.
      rule: Carry of the rule.
    """

    iteration: jax.Array
    rule: Tree


def scheduled(rule_at: Callable[[jax.Array], Outer]) -> Outer:
    """The outer rule of each meta-iteration, all in one compiled step.

    Args:
      rule_at: ``(iteration) -> Outer``, from 0 on. Weights of terms, clipping ranges and other
        numbers may depend on the iteration, a traced int32; all rules share a carry.
    """

    def init(key, theta):
        start = jnp.zeros((), jnp.int32)
        return Scheduled(start, rule_at(start).init(key, theta))

    def update(key, theta, carry):
        rule = rule_at(carry.iteration)
        theta, after, info = rule.update(key, theta, carry.rule)
        return theta, Scheduled(carry.iteration + 1, after), info

    def deploy(theta, carry):
        return rule_at(carry.iteration).deploy(theta, carry.rule)

    return Outer(init, update, deploy)
