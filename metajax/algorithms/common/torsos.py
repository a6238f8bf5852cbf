"""The network between observations and what a method makes of them, from options."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

from metajax.core.options import API, check_number

if TYPE_CHECKING:
    import flax.linen as nn


@dataclasses.dataclass(frozen=True, kw_only=True)
class WithTorso:
    """Options of every algorithm with a network of the user's choice.

    Attributes:
      network: a flax module, observations ``[B, O]`` to features ``[B, F]``, instead of
        the MLP (Python only).
      hidden_sizes: units of the layers of the MLP.
      activation: of the MLP.
    """

    network: Any = dataclasses.field(default=None, metadata=API)
    hidden_sizes: tuple[int, ...] = (64, 64)
    activation: Literal["relu", "tanh", "elu", "gelu", "silu"] = "relu"

    def check_torso(self) -> None:
        """Raises OptionError for sizes that no MLP has."""
        check_number("hidden_sizes", self.hidden_sizes, minimum=1)

    def torso(self) -> nn.Module:
        """Features of the observations."""
        from metajax import networks

        if self.network is not None:
            return self.network
        return networks.MLP(self.hidden_sizes, self.activation)
