"""How much arithmetic a meta-iteration needs, counted by hand.

``compiled.cost_analysis()`` counts the body of a loop once, and rollouts, task
blocks and adaptations are loops, so it cannot be asked.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from metajax.core.family import Spec


class Arithmetic(NamedTuple):
    """Floating-point operations of one meta-iteration in matrix products.

    Attributes:
      rollouts: acting, in all K + 1 chunks.
      adaptation: the K gradient steps of each trial.
      meta_gradient: what differentiating the trials adds to that.
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

    With layer widths ``d_0 .. d_L``, ``W = sum_l d_{l-1} d_l`` and V the same sum
    without the first layer, whose input is data and needs no gradient:

    - ``forward``: ``2 W``.
    - ``gradient``: forward, gradient of the weights (W), gradient of the inputs
      (V): ``2 (2 W + V)``.
    - ``second_order``: the backward pass through that gradient. Each of its products
      has two factors to pass on to: forward products to weights (W) and inputs (V),
      weight gradients to inputs (V) and output gradients (W), input gradients to
      weights (V) and output gradients (V): ``2 (2 W + 4 V)``.
    """

    forward: float
    gradient: float
    second_order: float


def layer_products(widths: Sequence[int]) -> LayerProducts:
    """Counts for an MLP of the layer widths ``d_0 .. d_L``, input and output included."""
    products = [a * b for a, b in itertools.pairwise(widths)]
    every, inner = sum(products), sum(products[1:])
    return LayerProducts(2 * every, 2 * (2 * every + inner), 2 * (2 * every + 4 * inner))


def of_setting(setting: Mapping[str, Any], spec: Spec) -> Arithmetic | None:
    """Arithmetic that one meta-iteration needs.

    With S = N E T samples in a chunk, K adaptations of U updates, and the counts of
    ``LayerProducts`` for each sample::

        rollouts       S (K + 1) forward
        adaptation     S K U gradient
        meta_gradient  S (K U second_order + gradient)      maml, joint (K = 0)
                       S gradient                           fomaml
                       0                                    reptile

    For rl2 with P passes over the trials (one for "a2c") it is ``S forward`` and
    ``S P gradient``, of the products with the weights of cell and heads. For dqn and
    reptile-dqn it is ``forward`` of every transition, and for each transition that is replayed
    ``gradient`` and a ``forward`` of each next observation by the target network, with double
    Q-learning another by the values.

    Only matrix products of the policy are counted: activations, distributions,
    environment, baseline and optimisers come on top (about 3% of the meta-gradient
    for two layers of 100 units), and so does what an implementation does twice,
    such as repeating the adaptation when it is differentiated. The fraction of a
    matrix-product rate that this number gives is therefore one that doing useless
    work cannot raise. Steps after the end of an episode are computed, and counted.

    Args:
      setting: options of the algorithm and its ``name``, spelled as in a config,
        with the ``horizon`` filled in.
      spec: of the family.

    Returns:
      the counts, or None where they are not known: another algorithm, a network
      of the user's or in front of a memory, a value network; with gradient steps
      also several updates from one batch (outer "ppo", "trpo"), the ``emaml`` term, a
      loss after every step.
    """
    if setting["name"] == "rl2":
        return _of_recurrent(setting, spec)
    if setting["name"] in ("dqn", "reptile-dqn"):
        return _of_q_learning(setting, spec)
    counted = (
        setting["name"] in ("maml", "fomaml", "joint", "reptile")
        and setting["baseline"] != "value"
        and setting.get("outer", "policy-gradient") == "policy-gradient"
        and setting.get("surrogate") != "emaml"
        and not setting.get("every-step")
    )
    if not counted:
        return None
    inputs, outputs = math.prod(spec.observation_shape), _num_outputs(spec)
    each = layer_products([inputs, *setting["hidden-sizes"], outputs])
    samples = setting["num-tasks"] * setting["num-streams"] * setting["horizon"]
    num_adaptations = setting["inner-steps"]
    updates = num_adaptations * setting["updates-per-step"]
    outer = 0.0
    if setting["name"] != "reptile":
        second_order = 0 if setting["name"] == "fomaml" else each.second_order
        outer = each.gradient + updates * second_order
    return Arithmetic(
        rollouts=float(samples * (num_adaptations + 1) * each.forward),
        adaptation=float(samples * updates * each.gradient),
        meta_gradient=float(samples * outer),
    )


def _of_recurrent(setting: Mapping[str, Any], spec: Spec) -> Arithmetic | None:
    if setting["readout-size"] is not None or setting["hidden-sizes"]:
        return None
    outputs, size = _num_outputs(spec), setting["hidden-size"]
    inputs = math.prod(spec.observation_shape) + outputs + 2
    gates = {"gru": 3, "lstm": 4}[setting["memory-cell"]]
    # The value reads features twice, as they are and by the time that is left, and that.
    of_data, of_hidden = inputs * gates * size, size * (gates * size + outputs) + 2 * size + 1
    episodes = setting["num-episodes"] or spec.episodes_per_trial
    samples = setting["num-tasks"] * setting["num-streams"] * episodes * spec.episode_length
    passes = setting["num-epochs"] if setting["outer"] == "ppo" else 1
    return Arithmetic(
        rollouts=float(samples * 2 * (of_data + of_hidden)),
        adaptation=0.0,
        meta_gradient=float(samples * passes * 2 * (2 * of_data + 3 * of_hidden)),
    )


def _of_q_learning(setting: Mapping[str, Any], spec: Spec) -> Arithmetic:
    inputs, outputs = math.prod(spec.observation_shape), _num_outputs(spec) + setting["dueling"]
    each = layer_products([inputs, *setting["hidden-sizes"], outputs])
    streams, num_steps = setting["num-streams"], setting["num-steps"]
    adaptations = setting["lifetime"] // (streams * num_steps)
    # The first one whose buffer holds enough, counted from 1.
    needed = max(setting["n-step"], math.ceil(setting["learning-starts"] / streams))
    first = max(1, math.ceil(needed / num_steps))
    replayed = max(0, adaptations - first + 1) * setting["updates"] * setting["batch-size"]
    targets = setting["n-step"] * (1 + setting["double"]) * each.forward
    num_tasks = setting["num-tasks"]
    return Arithmetic(
        rollouts=float(num_tasks * (adaptations + 1) * streams * num_steps * each.forward),
        adaptation=float(num_tasks * replayed * (each.gradient + targets)),
        meta_gradient=0.0,
    )


def _num_outputs(spec: Spec) -> int:
    from metajax.core.family import Box

    space = spec.action_space
    return len(space.low) if isinstance(space, Box) else space.num_actions
