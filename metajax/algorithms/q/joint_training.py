"""Options of algorithms that train one DQN on all tasks."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Self

from metajax.algorithms.q.base import QBased
from metajax.core.options import AtMost, Count, Fraction


@dataclasses.dataclass(frozen=True, kw_only=True)
class JointlyTrained(QBased):
    """Options of every algorithm whose training is that of one DQN on all tasks.

    Attributes:
      num_tasks: Number of environments that run side by side in training.
      devices: Number of devices in training, where there is one DQN. A meta-test uses all.
      adaptations: Number of adaptations in a meta-iteration of training.
      training_buffer_size: Number of transitions in the replay buffer of training.
      training_epsilon: Probability of a random action in training, at the start and at the end.
      training_epsilon_steps: Number of transitions over which ``training_epsilon`` changes
        linearly.
    """

    num_tasks: Count = 32
    devices: Annotated[Count, AtMost(1)] | None = None
    adaptations: Count = 100
    training_buffer_size: Count = 100_000
    training_epsilon: tuple[Fraction, Fraction] = (1.0, 0.05)
    training_epsilon_steps: Count = 100_000

    def buffers_at_once(self, layout):
        """One of training is checked by itself; those of tasks are in the meta-test alone."""
        return self.microbatch or 1

    def training(self, num_steps: int, **changes: Any) -> Self:
        """The options of training as those of a trial, with a stream for each of the tasks.

        Args:
          num_steps: Number of steps of each between two adaptations.
          **changes: Other options.
        """
        return dataclasses.replace(
            self,
            num_streams=self.num_tasks,
            num_steps=num_steps,
            lifetime=self.num_tasks * num_steps * self.adaptations,
            buffer_size=self.training_buffer_size,
            epsilon=self.training_epsilon,
            epsilon_steps=self.training_epsilon_steps,
            **changes,
        )

    def training_replay(self, training: Self, family: Any, **options: Any) -> Any:
        """The replay of training, whose one buffer is checked against the budget."""
        replay = training.replay(family, name="training_buffer_size", **options)
        self.check_budget(replay, 1, "training_buffer_size")
        return replay
