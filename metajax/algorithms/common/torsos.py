"""The network between observations and what a method makes of them, from options."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

from metajax.core.options import API, Count, OptionError, Options

if TYPE_CHECKING:
    import flax.linen as nn


_WITHOUT_NETWORK = ("conv_filters", "hidden_sizes", "activation")


@dataclasses.dataclass(frozen=True, kw_only=True)
class WithTorso(Options):
    """Options of every algorithm with a network of the user's choice.

    Attributes:
      network: Flax module from observations ``[B, O]`` to features ``[B, F]``, used instead of
        convolutions and MLP (Python only).
      conv_filters: Number of filters of each block of convolutions before the MLP, for images
        ``[H, W, C]``; four times 64 in most papers. Empty: no convolutions.
      hidden_sizes: Units of each hidden layer of the MLP.
      activation: Activation function of convolutions and MLP.
    """

    network: Any = dataclasses.field(default=None, metadata=API)
    conv_filters: tuple[Count, ...] = ()
    hidden_sizes: tuple[Count, ...] = (64, 64)
    activation: Literal["relu", "tanh", "elu", "gelu", "silu"] = "relu"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.network is None:
            return
        for field in dataclasses.fields(self):
            given = getattr(self, field.name)
            if field.name in _WITHOUT_NETWORK and given != field.default:
                raise OptionError(
                    field.name,
                    f"{given!r} is not possible beside network, which takes its place; allowed: "
                    "one of them",
                )

    @property
    def is_mlp(self) -> bool:
        """Whether the torso is an MLP alone."""
        return self.network is None and not self.conv_filters

    def torso(self) -> nn.Module:
        """Features of the observations."""
        import flax.linen as nn

        from metajax import networks

        if self.network is not None:
            return self.network
        mlp = networks.MLP(self.hidden_sizes, self.activation)
        if self.is_mlp:
            return mlp
        return nn.Sequential([networks.Convolutions(self.conv_filters, self.activation), mlp])
