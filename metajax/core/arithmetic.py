"""Arithmetic of a meta-iteration, counted by hand by the method ``arithmetic`` of options.

``compiled.cost_analysis()`` counts the body of a loop once, and rollouts, task blocks and
adaptations are loops, so it cannot be asked. Only matrix products of the policy are counted:
activations, distributions, environment, baseline and optimisers come on top (about 3% of the
meta-gradient for two layers of 100 units), and so does what an implementation does twice, such as
repeating the adaptation when it is differentiated. The fraction of a matrix-product rate that this
number gives is therefore one that doing useless work cannot raise. Steps after the end of an
episode are computed, and counted.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from metajax.core.family import Spec


class Arithmetic(NamedTuple):
    """Floating-point operations of one meta-iteration in matrix products.

    Attributes:
      rollouts: acting, in all chunks.
      adaptation: the gradient steps of each trial.
      meta_gradient: differentiating the trials, beyond that.
    """

    rollouts: float
    adaptation: float
    meta_gradient: float

    @property
    def total(self) -> float:
        """All of it."""
        return sum(self)


class LayerProducts(NamedTuple):
    """Matrix products of an MLP, operations for each sample.

    With layer widths ``d_0 .. d_L``, ``W = sum_l d_{l-1} d_l`` and V the same sum without the
    first layer, whose input is data and needs no gradient:

    - ``forward``: ``2 W``.
    - ``gradient``: forward, gradient of the weights (W), gradient of the inputs (V):
      ``2 (2 W + V)``.
    - ``second_order``: the backward pass through that gradient. Each of its products has two
      factors to pass on to: forward products to weights (W) and inputs (V), weight gradients to
      inputs (V) and output gradients (W), input gradients to weights (V) and output gradients
      (V): ``2 (2 W + 4 V)``. A product of the gradient's Hessian with a vector takes as many.
    - ``head``: the last layer's part of ``forward``.
    """

    forward: float
    gradient: float
    second_order: float
    head: float


def layer_products(widths: Sequence[int]) -> LayerProducts:
    """Counts for an MLP of the layer widths ``d_0 .. d_L``, input and output included."""
    products = [a * b for a, b in itertools.pairwise(widths)]
    every, inner = sum(products), sum(products[1:])
    return LayerProducts(
        forward=2 * every,
        gradient=2 * (2 * every + inner),
        second_order=2 * (2 * every + 4 * inner),
        head=2 * products[-1],
    )


def sizes(spec: Spec) -> tuple[int, int]:
    """Inputs and outputs of a policy: observations flat, a number for each action."""
    from metajax.core.family import Box

    space = spec.action_space
    outputs = len(space.low) if isinstance(space, Box) else space.num_actions
    return math.prod(spec.observation_shape), outputs
