"""DQN trained on all tasks at once: pretraining without meta-learning."""

from __future__ import annotations

import dataclasses

from metajax.algorithms.q.base import QBased
from metajax.core.options import check_number


@dataclasses.dataclass(frozen=True, kw_only=True)
class JointDQN(QBased):
    """One DQN for all tasks, as initial values for a lifetime in one of them.

    Every episode of training is in a task of its own, in ``num_tasks`` streams, and the
    replay buffer mixes them. A trial starts an ordinary DQN lifetime from the result, as
    ``dqn`` and ``reptile-dqn`` do: fine-tuning.

    Attributes:
      devices: at most one, as one DQN is trained; a meta-test takes all there are.
      adaptations: of training, ``updates`` gradient steps each, in a meta-iteration.
      training_buffer_size: transitions that the buffer of training holds.
      training_epsilon: probability of a random action in training, at the start and at the end.
      training_epsilon_steps: transitions over which it falls linearly.
    """

    num_tasks: int = 32
    adaptations: int = 100
    training_buffer_size: int = 100_000
    training_epsilon: tuple[float, float] = (1.0, 0.05)
    training_epsilon_steps: int = 100_000

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("devices", self.devices, maximum=1)
        for name in ("adaptations", "training_buffer_size", "training_epsilon_steps"):
            check_number(name, getattr(self, name), minimum=1)
        check_number("training_epsilon", self.training_epsilon, minimum=0, maximum=1)

    def buffers_at_once(self, layout):
        """Training has one of its own; those of tasks are there in the meta-test alone."""
        return self.microbatch or 1

    def outer_rule(self, family, learner, source, layout):
        from metajax import outer
        from metajax.data.rollout import lifetime
        from metajax.tasks.mixtures import mixture

        chunk = self.num_steps * self.num_tasks
        training = dataclasses.replace(
            self,
            num_streams=self.num_tasks,
            lifetime=chunk,
            buffer_size=self.training_buffer_size,
            epsilon=self.training_epsilon,
            epsilon_steps=self.training_epsilon_steps,
        )
        tasks = mixture(family)
        replay = training.replay(tasks, name="training_buffer_size")
        self.check_budget(replay, 1, "training_buffer_size")
        one_for_all = training.learner(tasks, replay)
        streams = lifetime(tasks, one_for_all, self.num_tasks, self.num_steps)
        return outer.continued(
            one_for_all,
            streams,
            (),
            num_adaptations=self.adaptations,
            num_streams=self.num_tasks,
        )
