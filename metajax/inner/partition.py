"""Partitions: which part of theta adapts inside a task."""

from collections.abc import Callable
from typing import NamedTuple

from metajax.core.family import Tree


class Partition(NamedTuple):
    """The fast part of a learner.

    Attributes:
      split: ``(theta) -> fast``, the adapted part at the start of a trial.
      merge: ``(theta, fast) -> weights``, the weights of the network, of which everything but
        ``fast`` is shared by all tasks.
    """

    split: Callable[[Tree], Tree]
    merge: Callable[[Tree, Tree], Tree]


EVERYTHING = Partition(split=lambda theta: theta, merge=lambda theta, fast: fast)
"""All of theta adapts."""


def part(name: str) -> Partition:
    """One entry of a theta that is a dict adapts, and is all there is of the weights.

    The other entries belong to the rule: rates, an optimiser's parameters.
    """
    return Partition(lambda theta: theta[name], lambda theta, fast: fast)


def _heads(theta: Tree) -> Tree:
    return {
        network: {name: leaf for name, leaf in weights.items() if name != "torso"}
        for network, weights in theta.items()
    }


def _with_heads(theta: Tree, heads: Tree) -> Tree:
    return {network: {**theta[network], **head} for network, head in heads.items()}


HEADS = Partition(split=_heads, merge=_with_heads)
"""All of a network adapts but its torso: the last layer and, for continuous actions, the
standard deviation."""
