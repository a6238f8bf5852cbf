"""RL2: a recurrent policy whose hidden state is what it has learned of the task."""

from __future__ import annotations

import dataclasses
from typing import Literal

from metajax.algorithms.memory.base import MemoryBased
from metajax.core.options import check_number


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
      readout_size: units of a layer before the memory and of one after it, which the input
        of the step can ask (``metajax.networks.GatedReadout``); none for neither, as in the
        papers.
    """

    memory_cell: Literal["gru", "lstm"] = "gru"
    hidden_size: int = 128
    readout_size: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("hidden_size", "readout_size"):
            check_number(name, getattr(self, name), minimum=1)

    def own_memory(self, num_steps):
        from metajax import networks

        del num_steps
        cell = {"gru": networks.GRU, "lstm": networks.LSTM}[self.memory_cell]
        memory = cell(self.hidden_size)
        if self.readout_size is None:
            return memory
        return networks.GatedReadout(memory, self.readout_size)
