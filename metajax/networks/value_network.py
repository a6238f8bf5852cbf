"""Predictions of a policy's values: one number a state, or one an action."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from metajax.core.family import Spec
from metajax.networks.features import check_network
from metajax.networks.q_network import q_network


class ValueNetwork(NamedTuple):
    """Values of states under a policy, and of actions in them.

    Attributes:
      init: ``(key) -> weights``.
      states: ``(weights, observation [B, O], probability [B, A]) -> [B]``, the policy's
        probabilities of the actions.
      actions: ``(weights, observation [B, O], action [B]) -> [B]``; of a network without
        action values those of the states.
    """

    init: Callable[[jax.Array], Any]
    states: Callable[[Any, jax.Array, jax.Array], jax.Array]
    actions: Callable[[Any, jax.Array, jax.Array], jax.Array]


def state_values(spec: Spec, network: nn.Module) -> ValueNetwork:
    """One output a state; the policy whose values they are is in the targets alone.

    Args:
      spec: gives the observation shape.
      network: any flax module from observations ``[B, O]``, as float32, to features
        ``[B, F]``.

    Raises:
      OptionError: for a network that gives something else.
    """
    check_network(network, spec)
    head = nn.Sequential([network, nn.Dense(1)])

    def init(key):
        return head.init(key, jnp.zeros((1, *spec.observation_shape)))["params"]

    def states(weights: Any, observation: jax.Array, *_: jax.Array) -> Any:
        outputs: Any = head.apply({"params": weights}, observation.astype(jnp.float32))
        return outputs[:, 0]

    return ValueNetwork(init, states, states)


def action_values(spec: Spec, network: nn.Module) -> ValueNetwork:
    """One output an action; the value of a state is their mean over the policy.

    Args:
      spec, network: as ``networks.q_network`` takes them.

    Raises:
      OptionError: for a family with continuous actions.
    """
    outputs = q_network(spec, network)

    def states(weights, observation, probability):
        return jnp.sum(probability * outputs.apply(weights, observation), -1)

    def actions(weights, observation, action):
        values = outputs.apply(weights, observation)
        return jnp.take_along_axis(values, action[:, None], -1)[:, 0]

    return ValueNetwork(outputs.init, states, actions)
