"""RL2: a recurrent policy whose hidden state is what it has learned of the task."""

from __future__ import annotations

import dataclasses
from typing import Literal

from metajax.algorithms.memory_based import MemoryBased
from metajax.options import check_number


@dataclasses.dataclass(frozen=True, kw_only=True)
class RL2(MemoryBased):
    """RL2: a recurrent policy over whole trials.

    Source: Duan et al. (2016), "RL2: fast reinforcement learning via slow
    reinforcement learning"; Wang et al. (2016), "Learning to reinforcement learn",
    with ``outer = "a2c"`` and an LSTM. Deviations: Duan et al. train with TRPO, and
    policy and value share their memory here.

    Attributes:
      memory_cell: of the recurrent memory.
      hidden_size: of its hidden state.
    """

    memory_cell: Literal["gru", "lstm"] = "gru"
    hidden_size: int = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("hidden_size", self.hidden_size, minimum=1)

    def memory(self, num_steps):
        from metajax import networks

        del num_steps
        return {"gru": networks.GRU, "lstm": networks.LSTM}[self.memory_cell](self.hidden_size)
