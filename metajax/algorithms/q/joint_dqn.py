"""DQN trained on all tasks at once: pretraining without meta-learning."""

from __future__ import annotations

import dataclasses
from typing import Annotated

from metajax.algorithms.q.base import QBased
from metajax.core.options import AtMost, Count, Fraction


@dataclasses.dataclass(frozen=True, kw_only=True)
class JointDQN(QBased):
    """Joint DQN: one DQN pretrained on all tasks and fine-tuned in each, without meta-learning.

    Every episode of training is in a task of its own, in ``num_tasks`` streams, and the
    replay buffer mixes them. A trial starts an ordinary DQN lifetime from the result, as
    ``dqn`` and ``reptile-dqn`` do: fine-tuning.

    Attributes:
      num_tasks: Number of environments that run side by side in training.
      devices: Number of devices in training, where there is one DQN. A meta-test uses all.
      adaptations: Number of adaptations in a meta-iteration of training, with ``updates``
        gradient steps each.
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

    def outer_rule(self, problem, layout):
        from metajax import outer
        from metajax.tasks.mixtures import mixture

        training = dataclasses.replace(
            self,
            num_streams=self.num_tasks,
            lifetime=self.num_steps * self.num_tasks * self.adaptations,
            buffer_size=self.training_buffer_size,
            epsilon=self.training_epsilon,
            epsilon_steps=self.training_epsilon_steps,
        )
        tasks = mixture(problem.family)
        replay = training.replay(tasks, name="training_buffer_size")
        self.check_budget(replay, 1, "training_buffer_size")
        return outer.joint(training.problem(tasks, training.learner(tasks, replay)))
