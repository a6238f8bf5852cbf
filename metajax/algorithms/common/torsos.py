"""The network between observations and what a method makes of them, from options."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

from metajax.core.options import API, Count, Options

if TYPE_CHECKING:
    import flax.linen as nn


@dataclasses.dataclass(frozen=True, kw_only=True)
class WithTorso(Options):
    """Options of every algorithm with a network of the user's choice.

    Attributes:
      network: Flax module from observations ``[B, O]`` to features ``[B, F]``, used instead of
        the MLP (Python only).
      hidden_sizes: Units of each hidden layer of the MLP.
      activation: Activation function of the MLP.
    """

    network: Any = dataclasses.field(default=None, metadata=API)
    hidden_sizes: tuple[Count, ...] = (64, 64)
    activation: Literal["relu", "tanh", "elu", "gelu", "silu"] = "relu"

    def torso(self) -> nn.Module:
        """Features of the observations."""
        from metajax import networks

        if self.network is not None:
            return self.network
        return networks.MLP(self.hidden_sizes, self.activation)
