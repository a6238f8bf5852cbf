"""Context-conditioned action values: a recurrent network over a window of recent steps."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from metajax.core.family import Spec
from metajax.networks.q_network import QNetwork, q_network


class ContextValues(NamedTuple):
    """Context-conditioned action values as pure functions of their weights.

    Attributes:
      values: ``Q(s, z, .)``, a ``QNetwork`` over windows ``[B, C, F]`` as observations.
      context: ``(weights, windows [B, C, F]) -> z [B, H]``.
    """

    values: QNetwork
    context: Callable[[Any, jax.Array], jax.Array]


class _ContextTorso(nn.Module):
    torso: nn.Module
    memory: nn.Module
    num_observed: int

    def __call__(self, windows: jax.Array) -> jax.Array:
        observation = windows[:, -1, : self.num_observed]
        return self.torso(jnp.concatenate([observation, self.context(windows)], axis=-1))

    def context(self, windows: jax.Array) -> jax.Array:
        return self.memory(jnp.swapaxes(windows, 0, 1))[-1]


def context_values(
    spec: Spec, network: nn.Module, memory: nn.Module, *, num_observed: int, dueling: bool = False
) -> ContextValues:
    """Builds context-conditioned action values over windows of recent steps.

    The context z is the output of ``memory`` after the last step of a window, started anew
    for each window. The torso reads z and the observation of that last step.

    Source: Fakoor et al. (2020), "Meta-Q-Learning", section 3.2: the hidden state of a GRU,
    read by policy and values next to the state.

    Args:
      spec: Spec of a family with windows ``[C, F]`` as observations.
      network: Torso, any flax module from ``[B, O + H]`` to features.
      memory: Flax module ``[C, B, F] -> [C, B, H]``, such as ``metajax.networks.GRU``.
      num_observed: Leading features of a step that are its observation, O.
      dueling: See ``metajax.networks.q_network``.

    Raises:
      OptionError: For a family with continuous actions.
    """
    torso = _ContextTorso(network, memory, num_observed)

    def context(weights: Any, windows: jax.Array) -> Any:
        return torso.apply({"params": weights["torso"]}, windows, method="context")

    return ContextValues(q_network(spec, torso, dueling=dueling), context)
