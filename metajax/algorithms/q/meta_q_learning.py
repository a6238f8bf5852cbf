"""One context-conditioned DQN for all tasks, fine-tuned with the replay of other tasks."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from metajax.algorithms.q.base import QBased
from metajax.core.options import check_number

if TYPE_CHECKING:
    from metajax.core.family import TaskFamily
    from metajax.inner import Windows


@dataclasses.dataclass(frozen=True, kw_only=True)
class MetaQLearning(QBased):
    """Meta-Q-learning: a DQN that reads a context, and recycles old replay in new tasks.

    Values depend on the observation and on a context, what a GRU makes of the last steps
    of a stream. Training is ordinary Q-learning in many tasks at a time from one replay
    that outlives them. A new task is acted in on the context at once; its adaptations
    take gradient steps on its own experience, then on old experience, which counts for as much as
    its context is likely in the task, and hold the weights back to the trained ones the
    less old experience is of use.

    Source: Fakoor et al. (2020), "Meta-Q-Learning", with DQN in the place of TD3; see
    ``metajax.inner.meta_q_learner`` and ``metajax.outer.joint``.

    Attributes:
      num_tasks: N, tasks that are trained in side by side, one stream in each.
      devices: at most one, as one DQN is trained; a meta-test takes all there are.
      updates: gradient steps of an adaptation on new experience.
      context_length: C, last steps of a stream that its context is computed from.
      context_size: H, numbers of a context.
      learning_rate: of training, where ``inner_lr`` is that of a trial.
      adaptations: of training in a meta-iteration, which is one trial in each of N new tasks.
      training_steps: of each task before each of those.
      training_updates: gradient steps of each.
      training_buffer_size: transitions that the buffer of training holds.
      training_epsilon: probability of a random action in training, at the start and at the end.
      training_epsilon_steps: transitions over which it falls linearly.
      memory_size: M, stretches of that buffer that trials get.
      old_updates: gradient steps of an adaptation on those.
      num_compared: stretches of a task that are compared with them.
      ridge: of that comparison, a logistic regression.
      ratio_limit: the most that an old transition counts for.
      proximal: weight of the pull to the trained weights.
    """

    num_tasks: int = 80
    num_steps: int = 10
    lifetime: int = 2000
    updates: int = 10
    batch_size: int = 64
    buffer_size: int = 2000
    learning_starts: int = 100
    target_rate: float = 0.01
    target_period: int = 1
    epsilon: tuple[float, float] = (0.05, 0.05)
    context_length: int = 10
    context_size: int = 32
    learning_rate: float = 1e-3
    adaptations: int = 200
    training_steps: int = 1
    training_updates: int = 4
    training_buffer_size: int = 100_000
    training_epsilon: tuple[float, float] = (1.0, 0.05)
    training_epsilon_steps: int = 100_000
    memory_size: int = 1000
    old_updates: int = 10
    num_compared: int = 200
    ridge: float = 0.01
    ratio_limit: float = 1.0
    proximal: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("devices", self.devices, maximum=1)
        for name in (
            *("context_length", "context_size", "adaptations", "training_steps"),
            *("training_updates", "training_buffer_size", "training_epsilon_steps"),
            *("memory_size", "num_compared"),
        ):
            check_number(name, getattr(self, name), minimum=1)
        for name in ("learning_rate", "old_updates", "proximal"):
            check_number(name, getattr(self, name), minimum=0)
        for name in ("ridge", "ratio_limit"):
            check_number(name, getattr(self, name), above=0)
        check_number("training_epsilon", self.training_epsilon, minimum=0, maximum=1)

    def windows(self, family: TaskFamily) -> Windows:
        """What a context is computed from."""
        from metajax.inner import Windows

        return Windows.of(family.spec, self.context_length)

    def context_values(self, family: TaskFamily) -> Any:
        """The action values and the context."""
        from metajax import networks

        windows = self.windows(family)
        return networks.context_values(
            windows.spec,
            self.torso(),
            networks.GRU(self.context_size),
            num_observed=windows.num_observed,
            dueling=self.dueling,
        )

    def replay(self, family: TaskFamily, num_trials: int = 1, *, name: str = "buffer_size") -> Any:
        """The replay of windows, of a task or of training."""
        from metajax import inner

        return inner.context_replay(
            self.windows(family),
            num_streams=self.num_streams,
            capacity=self.buffer_size,
            batch_size=self.batch_size,
            num_steps=self.n_step,
            learning_starts=self.learning_starts,
            num_trials=num_trials,
            name=name,
        )

    def learner(self, family: TaskFamily, replay: Any, **changes: Any) -> Any:
        from metajax import inner

        arguments = {
            "optimizer": self.inner_rule(),
            "settings": self.settings,
            "boltzmann": self.exploration == "boltzmann",
            "double": self.double,
            "updates": self.updates,
            "target_period": self.target_period,
            "memory_size": self.memory_size,
            "batch_size": self.batch_size,
            "old_updates": self.old_updates,
            "num_compared": self.num_compared,
            "ridge": self.ridge,
            "ratio_limit": self.ratio_limit,
            "proximal": self.proximal,
        }
        windows, values = self.windows(family), self.context_values(family)
        return inner.meta_q_learner(values, windows, replay, **{**arguments, **changes})

    def buffers_at_once(self, layout):
        """Training has one of its own; those of tasks are there in the meta-test alone."""
        return self.microbatch or 1

    def outer_rule(self, family, learner, source, layout):
        from metajax import inner, outer
        from metajax.data.rollout import lifetime

        training = self._training()
        size = "training_buffer_size"
        replay = training.replay(family, self._trials_in_buffer(), name=size)
        self.check_budget(replay, 1, size)
        one_for_all = inner.with_context(
            inner.q_learner(
                self.context_values(family).values,
                replay.replay._replace(init=replay.empty),  # every iteration opens it
                optimizer=training.inner_rule(),
                settings=training.settings,
                boltzmann=self.exploration == "boltzmann",
                double=self.double,
                updates=self.training_updates,
                target_period=self.target_period,
            ),
            self.windows(family),
        )

        def theta_of(key, phi):
            experience = inner.drawn_experience(key, replay, phi.buffer, self.memory_size)
            return inner.MetaQ(phi.weights, experience)

        return outer.multi_task(
            one_for_all,
            lifetime(family, one_for_all, 1, self.training_steps, num_points=self.num_points),
            family,
            num_tasks=self.num_tasks,
            num_adaptations=self.adaptations,
            begin=lambda phi: phi._replace(buffer=replay.open(phi.buffer)),
            theta_of=theta_of,
            weights_of=lambda theta: theta.weights,
        )

    def _training(self) -> MetaQLearning:
        """The options of training as those of a trial, whose streams are the tasks."""
        return dataclasses.replace(
            self,
            num_streams=self.num_tasks,
            num_steps=1,
            lifetime=self.num_tasks,
            buffer_size=self.training_buffer_size,
            inner_lr=self.learning_rate,
            epsilon=self.training_epsilon,
            epsilon_steps=self.training_epsilon_steps,
        )

    def _trials_in_buffer(self) -> int:
        """That a stream goes through before the buffer of training is full."""
        trial = self.num_tasks * self.adaptations * self.training_steps
        return 1 + self.training_buffer_size // trial
