"""Options of algorithms whose learner is a DQN.

Options are plain dataclasses and JAX is imported where it is first used, so that
`metajax --help` and a mistake in a config file are answered at once.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from metajax.algorithms.common.lifetimes import LifetimeOptions
from metajax.algorithms.common.optimizers import inner_optimizer
from metajax.algorithms.common.torsos import WithTorso
from metajax.core.options import (
    AtLeast,
    Count,
    Fraction,
    NonNegative,
    OptionError,
    Positive,
)

if TYPE_CHECKING:
    import jax
    import optax

    from metajax.core.algorithm import MetaAlgorithm, Outer
    from metajax.core.arithmetic import Arithmetic
    from metajax.core.family import Spec, TaskFamily
    from metajax.core.layout import Layout
    from metajax.core.problem import Problem
    from metajax.core.types import Learner
    from metajax.data.buffer import Replay
    from metajax.inner import QSettings
    from metajax.networks import QNetwork


# Most lifetimes of a block, each of which has a replay buffer.
_LIFETIMES = 256


@dataclasses.dataclass(frozen=True, kw_only=True)
class QBased(WithTorso, LifetimeOptions):
    """Options of every algorithm whose learner adapts by Q-learning.

    Attributes:
      updates: Number of gradient steps in an adaptation.
      batch_size: Number of transitions (n-step stretches) in the batch of a gradient step.
      buffer_size: Number of transitions in a task's replay buffer.
      buffer_budget: Largest size in bytes of all replay buffers on a device together.
      learning_starts: Number of transitions before the first gradient step.
      n_step: Number of steps n in a target.
      double: Whether the online network chooses the next action of a target, as in double DQN.
      dueling: Whether the network has a value and advantages instead of one output per action.
      inner_optimizer: Optimiser of the network.
      inner_lr: Step size of the network's optimiser.
      inner_clip: Largest global norm of a gradient; "none" for no clipping.
      discount: Discount per step.
      huber_delta: Temporal-difference error at which the loss turns from squared to absolute, in
        units of return.
      target_rate: Fraction of the way from the target network to the network in an update of
        the target; 1 copies the network.
      target_period: Number of gradient steps between two updates of the target network.
      exploration: Exploration of the actor: "epsilon-greedy", or "boltzmann" with epsilon on top.
      epsilon: Probability of a uniformly random action, at the start and at the end.
      epsilon_steps: Number of transitions over which epsilon changes linearly.
      temperature: Temperature of "boltzmann", in units of return.
    """

    # Not 0 where something differentiates through the updates.
    adam_floor: ClassVar[float] = 0.0
    fewer_buffers: ClassVar[str] = ". A smaller microbatch has fewer at once"

    updates: Count = 1
    batch_size: Count = 128
    buffer_size: Count = 10_000
    buffer_budget: Annotated[float, AtLeast(1)] = 8e9
    learning_starts: Annotated[int, AtLeast(0)] = 1000
    n_step: Count = 1
    double: bool = True
    dueling: bool = False
    hidden_sizes: tuple[Count, ...] = (120, 84)
    inner_optimizer: Literal["adam", "sgd", "rmsprop"] = "adam"
    inner_lr: NonNegative = 2.5e-4
    inner_clip: Positive | None = None
    discount: Fraction = 0.99
    huber_delta: Positive = 100.0
    target_rate: Fraction = 1.0
    target_period: Count = 50
    exploration: Literal["epsilon-greedy", "boltzmann"] = "epsilon-greedy"
    epsilon: tuple[Fraction, Fraction] = (1.0, 0.05)
    epsilon_steps: Count = 5000
    temperature: Positive = 1.0

    @property
    def num_trials(self) -> int:
        """Trials of a meta-iteration."""
        return self.num_tasks

    def build(self, family: TaskFamily) -> MetaAlgorithm:
        """The algorithm on a task family.

        Raises:
          OptionError: for sizes that do not fit the family, the devices or the budget.
        """
        from metajax.core.layout import default_block

        layout = self.layout(num_tasks=self.num_trials, at_most=_LIFETIMES)
        # Small batches want more tasks in a product, and buffers fewer of them in the cache.
        layout = dataclasses.replace(layout, gradient_microbatch=layout.microbatch)
        replay = self.replay(family)
        self.check_budget(replay, self.buffers_at_once(layout))
        problem = self.problem(family, self.learner(family, replay))
        rule = self.outer_rule(problem, layout)
        in_budget = max(1, int(self.buffer_budget // replay.num_bytes))
        tested = min(default_block(), _LIFETIMES, in_budget)
        return self.composed(problem, rule, microbatch=self.microbatch or tested)

    def lifetime_arithmetic(self, spec: Spec) -> Arithmetic | None:
        """Matrix products of ``num_tasks`` lifetimes.

        ``forward`` of every transition; for each replayed transition ``gradient`` and a
        ``forward`` of each next observation by the target network, with double Q-learning
        another by the values. None where they are not counted: convolutions, a network in Python.
        """
        if not self.is_mlp:
            return None
        from metajax.core.arithmetic import Arithmetic, layer_products, sizes

        inputs, outputs = sizes(spec)
        each = layer_products([inputs, *self.hidden_sizes, outputs + self.dueling])
        # The first adaptation whose buffer holds enough, counted from 1.
        needed = max(self.n_step, math.ceil(self.learning_starts / self.num_streams))
        first = max(1, math.ceil(needed / self.num_steps))
        updates = max(0, self.num_adaptations - first + 1) * self.updates
        targets = self.n_step * (1 + self.double) * each.forward
        steps = (self.num_adaptations + 1) * self.num_streams * self.num_steps
        return Arithmetic(
            rollouts=float(self.num_tasks * steps * each.forward),
            adaptation=float(
                self.num_tasks * updates * self.batch_size * (each.gradient + targets)
            ),
            meta_gradient=0.0,
        )

    def outer_rule(self, problem: Problem, layout: Layout) -> Outer:
        """How theta improves; each algorithm has its own."""
        raise NotImplementedError

    def replay(self, family: TaskFamily, *, name: str = "buffer_size") -> Replay:
        """The replay buffer of a task; ``name`` is the option that sizes it, for errors."""
        from metajax.data.buffer import uniform_replay

        return uniform_replay(
            family.spec,
            num_streams=self.num_streams,
            capacity=self.buffer_size,
            batch_size=self.batch_size,
            num_steps=self.n_step,
            learning_starts=self.learning_starts,
            name=name,
        )

    def values(self, family: TaskFamily) -> QNetwork:
        """The action values."""
        from metajax import networks

        return networks.q_network(family.spec, self.torso(), dueling=self.dueling)

    def learner(self, family: TaskFamily, replay: Replay, **changes: Any) -> Learner:
        """The DQN of these options.

        Args:
          family: The task family.
          replay: The replay of a task.
          **changes: Other arguments of ``metajax.inner.q_learner``.
        """
        from metajax import inner

        return inner.q_learner(self.values(family), replay, **{**self.arguments(), **changes})

    def arguments(self) -> dict[str, Any]:
        """Arguments of ``metajax.inner.q_learner``, and of learners that are made of it."""
        return {
            "optimizer": self.inner_rule(),
            "settings": self.settings,
            "boltzmann": self.exploration == "boltzmann",
            "double": self.double,
            "updates": self.updates,
            "target_period": self.target_period,
        }

    def inner_rule(self) -> optax.GradientTransformation:
        """The optimiser of the values, without its learning rate."""
        return inner_optimizer(
            self.inner_optimizer, max_grad_norm=self.inner_clip, adam_floor=self.adam_floor
        )

    def settings(self, theta: Any, env_steps: jax.Array) -> QSettings:
        """The numbers of Q-learning after so many transitions."""
        from metajax.inner import QSettings

        del theta
        return QSettings(
            learning_rate=self.inner_lr,
            discount=self.discount,
            epsilon=self.epsilon_after(env_steps, self.epsilon[1]),
            temperature=self.temperature,
            huber_delta=self.huber_delta,
            target_rate=self.target_rate,
        )

    def epsilon_after(self, env_steps: jax.Array, end: float | jax.Array) -> jax.Array:
        """Epsilon after so many transitions, on its way to ``end``."""
        import jax.numpy as jnp

        left = jnp.maximum(1 - env_steps / self.epsilon_steps, 0)
        return end + (self.epsilon[0] - end) * left

    def buffers_at_once(self, layout: Layout) -> int:
        """Replay buffers of a device at a time: those of a block of lifetimes."""
        return layout.microbatch

    def check_budget(self, replay: Replay, at_once: int, name: str = "buffer_size") -> None:
        """Raises OptionError where so many buffers, sized by an option, take too many bytes."""
        total = replay.num_bytes * at_once
        if total > self.buffer_budget:
            raise OptionError(
                name,
                f"{getattr(self, name)} takes {replay.num_bytes:,} bytes a buffer, {total:,} for "
                f"the {at_once} that there are at once; allowed: {self.buffer_budget:,.0f} "
                "(buffer_budget)" + self.fewer_buffers,
            )
