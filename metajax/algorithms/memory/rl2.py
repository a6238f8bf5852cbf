"""RL2: a recurrent policy whose hidden state is what it has learned of the task."""

from __future__ import annotations

import dataclasses
from typing import Literal

from metajax.algorithms.memory.base import MemoryBased
from metajax.core.options import Count


@dataclasses.dataclass(frozen=True, kw_only=True)
class RL2(MemoryBased):
    """RL2 (Duan et al. 2016; Wang et al. 2016): a recurrent policy over whole trials.

    Source: Duan et al. (2016), "RL2: fast reinforcement learning via slow
    reinforcement learning"; Wang et al. (2016), "Learning to reinforcement learn",
    with ``outer = "a2c"`` and an LSTM. Deviations: Duan et al. train with TRPO, and
    policy and value share their memory here.

    Attributes:
      memory_cell: Cell of the recurrent memory.
      hidden_size: Size of the hidden state.
      readout_size: Units of a layer before the memory and of a layer after it, which the step's
        input gates (``metajax.networks.GatedReadout``). Default: neither layer, as in the papers.
    """

    memory_cell: Literal["gru", "lstm"] = "gru"
    hidden_size: Count = 128
    readout_size: Count | None = None

    def own_memory(self, num_steps):
        from metajax import networks

        del num_steps
        cell = {"gru": networks.GRU, "lstm": networks.LSTM}[self.memory_cell]
        memory = cell(self.hidden_size)
        if self.readout_size is None:
            return memory
        return networks.GatedReadout(memory, self.readout_size)
