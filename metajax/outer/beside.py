"""Parameters that are trained beside theta, and that no meta-test needs."""

from collections.abc import Callable
from typing import NamedTuple

import jax

from metajax.core.algorithm import Outer
from metajax.core.family import Key, Tree


class Beside(NamedTuple):
    """Carry of ``beside``.

    Attributes:
      own: The parameters beside theta.
      rule: Carry of the rule.
    """

    own: Tree
    rule: Tree


def beside(rule: Outer, init: Callable[[Key], Tree]) -> Outer:
    """An outer rule of the pair ``(theta, own)``, of which theta alone leaves it.

    Args:
      rule: The rule that trains the pair.
      init: ``(key) -> own``: for example the head of a pretraining.
    """

    def begin(key, theta):
        key_own, key_rule = jax.random.split(key)
        own = init(key_own)
        return Beside(own, rule.init(key_rule, (theta, own)))

    def update(key, theta, carry):
        (theta, own), after, info = rule.update(key, (theta, carry.own), carry.rule)
        return theta, Beside(own, after), info

    return Outer(begin, update)
