"""One context-conditioned DQN for all tasks, fine-tuned with the replay of other tasks."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

from metajax.algorithms.q.base import QBased
from metajax.core.options import AtLeast, AtMost, Count, Fraction, NonNegative, Positive

if TYPE_CHECKING:
    from metajax.core.algorithm import Outer
    from metajax.core.family import TaskFamily
    from metajax.core.problem import Problem
    from metajax.core.types import Learner
    from metajax.inner import ContextReplay, Windows
    from metajax.networks import ContextValues


@dataclasses.dataclass(frozen=True, kw_only=True)
class MetaQLearning(QBased):
    """Meta-Q-learning (Fakoor et al. 2020): a DQN that reads a context and recycles old replay.

    Values depend on the observation and on a context, what a GRU makes of the last steps
    of a stream. Training is ordinary Q-learning in many tasks at a time from one replay
    that outlives them. A new task is acted in on the context at once; its adaptations
    take gradient steps on its own experience, then on old experience, which counts for as much as
    its context is likely in the task, and hold the weights back to the trained ones the
    less old experience is of use.

    Source: Fakoor et al. (2020), "Meta-Q-Learning", with DQN in the place of TD3; see
    ``metajax.inner.meta_q_learner`` and ``metajax.outer.joint``.

    Attributes:
      num_tasks: Number of tasks N trained in side by side, one stream in each.
      devices: Number of devices in training, where there is one DQN. A meta-test uses all.
      updates: Number of gradient steps of an adaptation on new experience.
      context_length: Number of steps C of a stream, the last ones, that make its context.
      context_size: Size H of a context.
      learning_rate: Step size of the network's optimiser in training; ``inner_lr`` is that of a
        trial.
      adaptations: Number of adaptations in a meta-iteration of training, which is one trial in
        each of N new tasks.
      training_steps: Number of steps in each task before an adaptation of training.
      training_updates: Number of gradient steps in an adaptation of training.
      training_buffer_size: Number of transitions in the replay buffer of training.
      training_epsilon: Probability of a random action in training, at the start and at the end.
      training_epsilon_steps: Number of transitions over which ``training_epsilon`` changes
        linearly.
      memory_size: Number of stretches M of the buffer of training that a trial gets.
      old_updates: Number of gradient steps of an adaptation on old experience.
      num_compared: Number of stretches of the task compared with the old ones.
      ridge: Regularisation of the comparison, a logistic regression.
      ratio_limit: Largest weight of an old transition.
      proximal: Weight of the pull towards the trained weights.
    """

    num_tasks: Count = 80
    num_steps: Count = 10
    lifetime: Count = 2000
    devices: Annotated[Count, AtMost(1)] | None = None
    updates: Count = 10
    batch_size: Count = 64
    buffer_size: Count = 2000
    learning_starts: Annotated[int, AtLeast(0)] = 100
    target_rate: Fraction = 0.01
    target_period: Count = 1
    epsilon: tuple[Fraction, Fraction] = (0.05, 0.05)
    context_length: Count = 10
    context_size: Count = 32
    learning_rate: NonNegative = 1e-3
    adaptations: Count = 200
    training_steps: Count = 1
    training_updates: Count = 4
    training_buffer_size: Count = 100_000
    training_epsilon: tuple[Fraction, Fraction] = (1.0, 0.05)
    training_epsilon_steps: Count = 100_000
    memory_size: Count = 1000
    old_updates: Annotated[int, AtLeast(0)] = 10
    num_compared: Count = 200
    ridge: Positive = 0.01
    ratio_limit: Positive = 1.0
    proximal: NonNegative = 1.0

    def windows(self, family: TaskFamily) -> Windows:
        """The windows that a context is computed from."""
        from metajax.inner import Windows

        return Windows.of(family.spec, self.context_length)

    def context_values(self, family: TaskFamily) -> ContextValues:
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

        windows = self.windows(family)
        return inner.context_replay(windows, num_trials=num_trials, **self.replayed(name))

    def learner(self, family: TaskFamily, replay: Any, **changes: Any) -> Learner:
        from metajax import inner

        arguments = {
            **self.updating(),
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
        """One of training is checked by itself; those of tasks are in the meta-test alone."""
        return self.microbatch or 1

    def outer_rule(self, problem, layout):
        from metajax import outer
        from metajax.data.side_by_side import side_by_side

        training, size = self._training(), "training_buffer_size"
        replay = training.replay(problem.family, self._trials_in_buffer(), name=size)
        self.check_budget(replay, 1, size)
        rule = outer.joint(
            side_by_side(training.one_of_all(problem.family, replay), self.num_tasks),
            renew=lambda phi: phi._replace(buffer=replay.open(phi.buffer)),
        )
        return of_weights(rule, replay, self.memory_size)

    def one_of_all(self, family: TaskFamily, replay: ContextReplay) -> Problem:
        """One of the tasks of training, where theta is weights."""
        from metajax import inner
        from metajax.data.lifetime import lifetime

        learner = inner.q_learner(
            self.context_values(family).values,
            replay.replay._replace(init=replay.empty),  # every iteration opens it
            **{**self.updating(), "updates": self.training_updates},
        )
        return lifetime(
            family,
            inner.with_context(learner, self.windows(family)),
            num_adaptations=self.adaptations,
            num_steps=self.training_steps,
            num_points=self.num_points,
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
        """Trials of a stream until the buffer of training is full."""
        trial = self.num_tasks * self.adaptations * self.training_steps
        return 1 + self.training_buffer_size // trial


def of_weights(rule: Outer, replay: ContextReplay, memory_size: int) -> Outer:
    """A rule of the weights as one of ``MetaQ``, whose experience is empty until it is deployed.

    Args:
      rule: Joint training, whose carry has the buffer of training.
      replay: The replay of training.
      memory_size: M, stretches of the buffer that trials get.
    """
    import jax

    from metajax import inner

    def update(key, theta, carry):
        weights, carry, info = rule.update(key, theta.weights, carry)
        return theta._replace(weights=weights), carry, info

    def deploy(theta, carry):
        key = jax.random.fold_in(jax.random.key(0), carry.phi.updates)
        drawn = inner.drawn_experience(key, replay, carry.phi.buffer, memory_size)
        return theta._replace(experience=drawn)

    return rule._replace(
        init=lambda key, theta: rule.init(key, theta.weights), update=update, deploy=deploy
    )
