"""Action values that depend on a context: a recurrent reading of the last steps."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from metajax.core.family import Spec
from metajax.networks.q_network import QNetwork, q_network


class ContextValues(NamedTuple):
    """Action values of windows, as pure functions of their weights.

    Attributes:
      values: ``Q(s, z, .)``, a ``QNetwork`` whose observations are windows ``[B, C, F]``.
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
    """Builds action values of windows.

    The context z is what ``memory`` gives out after the last step of a window, which it
    reads from its own start; the values see it beside the observation of that step.

    Args:
      spec: of windows: a family's, with observations ``[C, F]``.
      network: any flax module from ``[B, O + H]`` to features.
      memory: a flax module ``[C, B, F] -> [C, B, H]``, such as ``metajax.networks.GRU``.
      num_observed: O, numbers at the start of a step that are its observation.
      dueling: see ``metajax.networks.q_network``.

    Source: Fakoor et al. (2020), "Meta-Q-Learning", section 3.2, where the context is the
    hidden state of a GRU that policy and values read beside the state.

    Raises:
      OptionError: for a family with continuous actions.
    """
    torso = _ContextTorso(network, memory, num_observed)

    def context(weights: Any, windows: jax.Array) -> Any:
        return torso.apply({"params": weights["torso"]}, windows, method="context")

    return ContextValues(q_network(spec, torso, dueling=dueling), context)
