"""One context-conditioned DQN for all tasks, fine-tuned with the replay of other tasks."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

from metajax.algorithms.q.joint_training import JointlyTrained
from metajax.core.options import AtLeast, Count, Fraction, NonNegative, Positive

if TYPE_CHECKING:
    from metajax.core.algorithm import Outer
    from metajax.core.family import TaskFamily
    from metajax.core.types import Learner
    from metajax.inner import ContextReplay, Windows
    from metajax.networks import ContextValues


@dataclasses.dataclass(frozen=True, kw_only=True)
class MetaQLearning(JointlyTrained):
    """Meta-Q-learning (Fakoor et al. 2020): a DQN that reads a context and recycles old replay.

    Values depend on the observation and on a context, what a GRU makes of the last steps
    of a stream. Training is ordinary Q-learning in many tasks at a time from one replay
    that outlives them. A new task is acted in on the context at once; its adaptations
    take gradient steps on its own experience, then on old experience, which counts for as much as
    its context is likely in the task, and hold the weights back to the trained ones the
    less old experience is of use.

    Source: Fakoor et al. (2020), "Meta-Q-Learning". Deviations: DQN in the place of TD3, for
    discrete actions; adaptation to every chunk of a lifetime, where they collect once; a sample of
    the old replay in each trial instead of all of it; standardised features and equal weight for
    both sides of the regression; one stream a task in training.

    Attributes:
      num_tasks: Number of tasks N trained in side by side, one stream in each.
      updates: Number of gradient steps of an adaptation on new experience.
      context_length: Number of steps C of a stream, the last ones, that make its context.
      context_size: Size H of a context.
      learning_rate: Step size of the network's optimiser in training; ``inner_lr`` is that of a
        trial.
      adaptations: Number of adaptations in a meta-iteration of training, which is one trial in
        each of N new tasks.
      training_steps: Number of steps in each task before an adaptation of training.
      training_updates: Number of gradient steps in an adaptation of training.
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

    def learner(self, family: TaskFamily, replay: Any, **changes: Any) -> Learner:
        from metajax import inner

        arguments = {
            **self.arguments(),
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

    def outer_rule(self, problem, layout):
        from metajax import inner, outer
        from metajax.data.side_by_side import side_by_side

        family = problem.family
        training = self.training(self.training_steps, inner_lr=self.learning_rate)
        # Trials of a stream until the buffer is full.
        num_trials = 1 + self.training_buffer_size // training.lifetime
        replay = self.training_replay(training, family, num_trials=num_trials)
        one_for_all = inner.q_learner(
            self.context_values(family).values,
            replay.replay._replace(init=replay.steps.init),  # every iteration opens it
            **{**training.arguments(), "updates": self.training_updates},
        )
        alone = dataclasses.replace(
            training, num_streams=1, lifetime=self.training_steps * self.adaptations
        )
        one_task = alone.problem(family, inner.with_context(one_for_all, self.windows(family)))
        rule = outer.joint(
            side_by_side(one_task, self.num_tasks),
            renew=lambda phi: phi._replace(buffer=replay.open(phi.buffer)),
        )
        return of_weights(rule, replay, self.memory_size)


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
