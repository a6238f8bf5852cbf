"""Stochastic policies: a torso, an action head and optionally a value network."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from metajax.core.family import Discrete, Spec
from metajax.networks.activity import unit_activity
from metajax.networks.distributions import Distribution, categorical, diagonal_gaussian
from metajax.networks.features import check_network
from metajax.networks.mlp import MLP


class Policy(NamedTuple):
    """A stochastic policy as pure functions of its weights.

    Attributes:
      init: ``(key) -> weights``, a dict of flax parameters.
      apply: ``(weights, observation [B, O]) -> parameters`` of ``distribution``.
      value: ``(weights, observation [B, O]) -> [B]``; None without a value network.
      distribution: Action distribution.
      activity: ``(weights, observation [B, O]) ->`` mean absolute outputs ``[F]`` of the units of
        each layer, at the place of its dict in the weights; None for other torsos than an MLP.
    """

    init: Callable[[jax.Array], Any]
    apply: Callable[[Any, jax.Array], Any]
    value: Callable[[Any, jax.Array], jax.Array] | None
    distribution: Distribution
    activity: Callable[[Any, jax.Array], Any] | None = None


def _head(size: int, scale: float) -> nn.Dense:
    initial = nn.initializers.variance_scaling(scale**2, "fan_avg", "uniform")
    return nn.Dense(size, kernel_init=initial)


class _LinearHead(nn.Module):
    torso: nn.Module
    size: int
    scale: float = 1.0
    num_indices: int | None = None

    @nn.compact
    def __call__(self, observation):
        if self.num_indices is None:
            return _head(self.size, self.scale)(self.torso(observation))
        index = observation[..., 0].astype(jnp.int32)
        if isinstance(self.torso, MLP) and not self.torso.hidden_sizes:
            # A linear function of a one-hot vector, without the product.
            initial = nn.initializers.variance_scaling(self.scale**2, "fan_avg", "uniform")
            return self.param("table", initial, (self.num_indices, self.size))[index]
        return _head(self.size, self.scale)(self.torso(jax.nn.one_hot(index, self.num_indices)))


class _GaussianHead(nn.Module):
    torso: nn.Module
    size: int
    scale: float
    initial_std: float
    min_std: float

    @nn.compact
    def __call__(self, observation):
        initial = nn.initializers.constant(jnp.log(self.initial_std))
        log_std = self.param("log_std", initial, (self.size,))
        mean = _head(self.size, self.scale)(self.torso(observation))
        return mean, jnp.broadcast_to(jnp.maximum(log_std, jnp.log(self.min_std)), mean.shape)


def policy(
    spec: Spec,
    network: nn.Module,
    *,
    head_scale: float = 1.0,
    initial_std: float = 1.0,
    min_std: float = 1e-6,
    value_network: nn.Module | None = None,
) -> Policy:
    """Builds a policy for the action space of a task family.

    A linear head is added to the torso: logits for ``Discrete`` actions; for ``Box`` actions
    a mean, with a learned, state-independent standard deviation (as in Finn et al. 2017).

    Args:
      spec: Spec of the family, with observation shape and action space.
      network: Torso, any flax module from observations ``[B, O]`` to features ``[B, F]``.
      head_scale: Scale of the initial kernel of the head, relative to Glorot-uniform. A
        small scale starts from a policy that hardly depends on the observation.
      initial_std: Initial standard deviation of ``Box`` actions, in action units.
      min_std: Lower bound of the standard deviation, in action units.
      value_network: Torso of a separate value network, with features ``[B, F]``. Default:
        no value network.

    Raises:
      OptionError: If a network is not such a module.
    """
    for one in (network, value_network):
        if one is not None:
            check_network(one, spec)
    if isinstance(spec.action_space, Discrete):
        number = spec.action_space.num_actions
        head: nn.Module = _LinearHead(network, number, head_scale, spec.num_indices)
        distribution = categorical(number)
    else:
        head = _GaussianHead(network, spec.action_space.size, head_scale, initial_std, min_std)
        distribution = diagonal_gaussian(spec.action_space.size)
    value_head = None
    if value_network is not None:
        value_head = _LinearHead(value_network, 1, num_indices=spec.num_indices)

    def init(key):
        key_policy, key_value = jax.random.split(key)
        observation = jnp.zeros((1, *spec.observation_shape))
        weights = {"policy": head.init(key_policy, observation)["params"]}
        if value_head is not None:
            weights["value"] = value_head.init(key_value, observation)["params"]
        return weights

    def apply(weights, observation):
        return head.apply({"params": weights["policy"]}, observation)

    def value(weights: Any, observation: jax.Array) -> Any:
        assert value_head is not None
        values: Any = value_head.apply({"params": weights["value"]}, observation)
        return values[..., 0]

    def activity(weights, observation):
        heads = {"policy": (head, network), "value": (value_head, value_network)}

        def of_network(name, leaves):
            module, torso = heads[name]
            return unit_activity(module, torso, leaves, observation)  # pyright: ignore[reportArgumentType]

        return {name: of_network(name, leaves) for name, leaves in weights.items()}

    has_mlps = all(isinstance(one, MLP | None) for one in (network, value_network))
    has_mlps = has_mlps and spec.num_indices is None
    of_states = None if value_head is None else value
    return Policy(init, apply, of_states, distribution, activity if has_mlps else None)


class Readout(NamedTuple):
    """A linear readout of a torso as pure functions of its weights.

    Attributes:
      init: ``(key) -> weights``.
      apply: ``(weights, observation [B, O]) -> [B, size]``.
    """

    init: Callable[[jax.Array], Any]
    apply: Callable[[Any, jax.Array], Any]


def readout(spec: Spec, network: nn.Module, size: int) -> Readout:
    """A network with ``size`` outputs, built as ``policy`` builds its own.

    Raises:
      OptionError: If the network is not a module from observations to features.
    """
    check_network(network, spec)
    head = _LinearHead(network, size, num_indices=spec.num_indices)
    observation = jnp.zeros((1, *spec.observation_shape))
    return Readout(
        init=lambda key: head.init(key, observation)["params"],
        apply=lambda weights, observation: head.apply({"params": weights}, observation),
    )
