"""Value networks for policy evaluation, with one output per state or per action."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from metajax.core.family import Spec
from metajax.networks.features import check_network
from metajax.networks.q_network import q_network


class ValueNetwork(NamedTuple):
    """State and action values under a policy, as pure functions of their weights.

    Attributes:
      init: ``(key) -> weights``.
      states: ``(weights, observation [B, O], probability [B, A]) -> [B]``, state values,
        given the action probabilities of the policy.
      actions: ``(weights, observation [B, O], action [B]) -> [B]``, action values; a network
        without action values returns state values.
    """

    init: Callable[[jax.Array], Any]
    states: Callable[[Any, jax.Array, jax.Array], jax.Array]
    actions: Callable[[Any, jax.Array, jax.Array], jax.Array]


def state_values(spec: Spec, network: nn.Module) -> ValueNetwork:
    """Builds a network with one output per state.

    The policy under evaluation enters through the targets alone.

    Args:
      spec: Spec with the observation shape.
      network: Torso, any flax module from float32 observations ``[B, O]`` to features ``[B, F]``.

    Raises:
      OptionError: If ``network`` is not such a module.
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
    """Builds a network with one output per action; state values are means over the policy.

    Args:
      spec, network: See ``networks.q_network``.

    Raises:
      OptionError: For a family with continuous actions, or if ``network`` is not a torso.
    """
    outputs = q_network(spec, network)

    def states(weights, observation, probability):
        return jnp.sum(probability * outputs.apply(weights, observation), -1)

    def actions(weights, observation, action):
        values = outputs.apply(weights, observation)
        return jnp.take_along_axis(values, action[:, None], -1)[:, 0]

    return ValueNetwork(outputs.init, states, actions)
