"""Action-value networks: a torso and a head with one output per action."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from metajax.core.family import Discrete, Spec
from metajax.core.options import OptionError
from metajax.networks.activity import unit_activity
from metajax.networks.features import check_network
from metajax.networks.mlp import MLP


class QNetwork(NamedTuple):
    """Action values as pure functions of their weights.

    Attributes:
      init: ``(key) -> weights``, a dict of flax parameters.
      apply: ``(weights, observation [B, O]) -> [B, A]``.
      num_actions: Number of actions, A.
      activity: See ``Policy``.
    """

    init: Callable[[jax.Array], Any]
    apply: Callable[[Any, jax.Array], jax.Array]
    num_actions: int
    activity: Callable[[Any, jax.Array], Any] | None = None


class _Head(nn.Module):
    torso: nn.Module
    num_actions: int
    dueling: bool

    @nn.compact
    def __call__(self, observation):
        features = self.torso(observation)
        advantage = nn.Dense(self.num_actions, name="advantage")(features)
        if not self.dueling:
            return advantage
        value = nn.Dense(1, name="value")(features)
        return value + advantage - jnp.mean(advantage, axis=-1, keepdims=True)


def q_network(spec: Spec, network: nn.Module, *, dueling: bool = False) -> QNetwork:
    """Builds an action-value network for a task family.

    Args:
      spec: Spec of a family with ``Discrete`` actions.
      network: Torso, any flax module from float32 observations ``[B, O]`` to features ``[B, F]``.
      dueling: Output the sum of a state value and of centred advantages (Wang et al. 2016,
        "Dueling network architectures", equation 9; both heads are linear).

    Raises:
      OptionError: For a family with continuous actions, or if ``network`` is not such a module.
    """
    check_network(network, spec)
    if not isinstance(spec.action_space, Discrete):
        raise OptionError(
            "family",
            f"{spec.name} has {spec.action_space}; allowed: a family with Discrete actions, as "
            "action values are one number an action",
        )
    head = _Head(network, spec.action_space.num_actions, dueling)

    def init(key):
        return head.init(key, jnp.zeros((1, *spec.observation_shape)))["params"]

    def apply(weights: Any, observation: jax.Array) -> Any:
        return head.apply({"params": weights}, observation.astype(jnp.float32))

    activity = None
    if isinstance(network, MLP):
        activity = functools.partial(unit_activity, head, network)
    return QNetwork(init, apply, spec.action_space.num_actions, activity)
