"""A transformer policy over the whole trial."""

from __future__ import annotations

import dataclasses
from typing import Literal

from metajax.algorithms.memory.base import MemoryBased
from metajax.core.options import check_number


@dataclasses.dataclass(frozen=True, kw_only=True)
class Transformer(MemoryBased):
    """A causal transformer over whole trials, with a cache of fixed size while it acts.

    Source: in the place of RL2's recurrent network, as in Melo (2022), "Transformers
    are meta-reinforcement learners" and Team et al. (2023), "Human-timescale adaptation
    in an open-ended task space"; trained by PPO or A2C like RL2.

    Attributes:
      context: steps that attention reaches back; the whole trial if none.
      num_layers: blocks of attention and MLP.
      num_heads: of the attention.
      size: of a step's features; a multiple of ``num_heads``, with rotary positions of twice that.
      mlp_size: units of the MLP in each block.
      positions: how attention knows distances: "rotary" or "relative".
    """

    context: int | None = None
    num_layers: int = 2
    num_heads: int = 4
    size: int = 64
    mlp_size: int = 256
    positions: Literal["rotary", "relative"] = "rotary"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("context", "num_layers", "num_heads", "size", "mlp_size"):
            check_number(name, getattr(self, name), minimum=1)

    def own_memory(self, num_steps):
        from metajax import networks

        return networks.Transformer(
            self.context or num_steps,
            num_layers=self.num_layers,
            num_heads=self.num_heads,
            size=self.size,
            mlp_size=self.mlp_size,
            positions=self.positions,
        )
