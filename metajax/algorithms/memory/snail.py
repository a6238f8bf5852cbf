"""SNAIL: a policy of causal convolutions and attention over the whole trial."""

from __future__ import annotations

import dataclasses

from metajax.algorithms.memory.base import MemoryBased
from metajax.core.options import check_number


@dataclasses.dataclass(frozen=True, kw_only=True)
class SNAIL(MemoryBased):
    """SNAIL: dilated causal convolutions and attention over whole trials.

    Source: Mishra et al. (2018), "A simple neural attentive meta-learner". Deviations:
    trained by PPO instead of TRPO, and policy and value share their memory.

    Attributes:
      input_size: units of the layer that the blocks read.
      filters: of each of the two blocks of temporal convolutions.
      attention_size: of keys and values of the attention block.
    """

    input_size: int = 32
    filters: int = 32
    attention_size: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("input_size", "filters", "attention_size"):
            check_number(name, getattr(self, name), minimum=1)

    def own_memory(self, num_steps):
        from metajax import networks

        convolutions = ("tc", self.filters)
        attention = ("attention", self.attention_size, self.attention_size)
        return networks.SNAIL(
            num_steps, self.input_size, blocks=(convolutions, convolutions, attention)
        )
