"""RL2: a recurrent policy whose hidden state is what it has learned of the task."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

from metajax.algorithms.memory.base import MemoryBased
from metajax.core.options import Count

if TYPE_CHECKING:
    from metajax.core.arithmetic import Arithmetic
    from metajax.core.family import Spec


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

    def arithmetic(self, spec: Spec) -> Arithmetic | None:
        """Matrix products of one meta-iteration with the weights of cell and heads.

        With S steps of all trials and P passes over them (one for "a2c"): rollouts
        ``S forward``, meta-gradient ``S P gradient``. None where they are not counted: a memory
        or a network in Python, or a network around the memory.
        """
        from metajax.core.arithmetic import Arithmetic, sizes

        own = (self.memory, self.readout_size)
        if self.hidden_sizes or not self.is_mlp or any(one is not None for one in own):
            return None
        (observed, outputs), size = sizes(spec), self.hidden_size
        gates = {"gru": 3, "lstm": 4}[self.memory_cell] * size
        # The memory also reads the last action, its reward and the start of an episode; the value
        # reads features twice, as they are and by the time that is left, and that.
        of_data = (observed + outputs + 2) * gates
        of_hidden = size * (gates + outputs) + 2 * size + 1
        episodes = self.num_episodes or spec.episodes_per_trial
        samples = self.num_tasks * self.num_streams * episodes * spec.episode_length
        passes = self.num_epochs if self.outer == "ppo" else 1
        return Arithmetic(
            rollouts=float(samples * 2 * (of_data + of_hidden)),
            adaptation=0.0,
            meta_gradient=float(samples * passes * 2 * (2 * of_data + 3 * of_hidden)),
        )

    def own_memory(self, num_steps):
        from metajax import networks

        del num_steps
        cell = {"gru": networks.GRU, "lstm": networks.LSTM}[self.memory_cell]
        memory = cell(self.hidden_size)
        if self.readout_size is None:
            return memory
        return networks.GatedReadout(memory, self.readout_size)
