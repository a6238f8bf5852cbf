"""SNAIL: a policy of causal convolutions and attention over the whole trial."""

from __future__ import annotations

import dataclasses

from metajax.algorithms.memory.base import MemoryBased
from metajax.core.options import Count


@dataclasses.dataclass(frozen=True, kw_only=True)
class SNAIL(MemoryBased):
    """SNAIL (Mishra et al. 2018): temporal convolutions and attention over whole trials.

    Source: Mishra et al. (2018), "A simple neural attentive meta-learner". Deviations:
    trained by PPO instead of TRPO, and policy and value share their memory.

    Attributes:
      input_size: Units of the layer before the blocks.
      filters: Number of filters in each of the two blocks of temporal convolutions.
      attention_size: Size of the keys and values of the attention block.
    """

    input_size: Count = 32
    filters: Count = 32
    attention_size: Count = 32

    def own_memory(self, num_steps):
        from metajax import networks

        convolutions = ("tc", self.filters)
        attention = ("attention", self.attention_size, self.attention_size)
        return networks.SNAIL(
            num_steps, self.input_size, blocks=(convolutions, convolutions, attention)
        )
