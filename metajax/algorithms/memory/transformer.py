"""A transformer policy over the whole trial."""

from __future__ import annotations

import dataclasses
from typing import Literal

from metajax.algorithms.memory.base import MemoryBased
from metajax.core.options import Count


@dataclasses.dataclass(frozen=True, kw_only=True)
class Transformer(MemoryBased):
    """Transformer policy over whole trials, as in TrMRL (Melo 2022) and AdA (Team et al. 2023).

    A causal transformer with a cache of fixed size while it acts.

    Source: in the place of RL2's recurrent network, as in Melo (2022), "Transformers
    are meta-reinforcement learners" and Team et al. (2023), "Human-timescale adaptation
    in an open-ended task space"; trained by PPO or A2C like RL2.

    Attributes:
      context: Number of steps that attention reaches back. Default: the whole trial.
      num_layers: Number of blocks of attention and MLP.
      num_heads: Number of attention heads.
      size: Size of a step's features; a multiple of ``num_heads``, with rotary positions of
        twice that.
      mlp_size: Units of the MLP in each block.
      positions: Encoding of distances in the attention.
    """

    context: Count | None = None
    num_layers: Count = 2
    num_heads: Count = 4
    size: Count = 64
    mlp_size: Count = 256
    positions: Literal["rotary", "relative"] = "rotary"

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
