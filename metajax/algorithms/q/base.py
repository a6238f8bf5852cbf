"""What the algorithms have in common whose learner is a DQN.

Options are plain dataclasses and JAX is imported where it is first used, so that
`metajax --help` and a mistake in a config file are answered at once.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from metajax.algorithms.common.lifetimes import Lifetimes
from metajax.algorithms.common.optimizers import inner_optimizer
from metajax.algorithms.common.torsos import WithTorso
from metajax.core.options import OptionError, check_number

if TYPE_CHECKING:
    import jax
    import optax

    from metajax.core.algorithm import MetaAlgorithm, Outer
    from metajax.core.family import TaskFamily
    from metajax.core.layout import TaskMap
    from metajax.core.types import Learner, Source
    from metajax.inner import QSettings, Replay
    from metajax.networks import QNetwork


# Most lifetimes of a block: each has a replay buffer.
_LIFETIMES = 256


@dataclasses.dataclass(frozen=True, kw_only=True)
class QBased(WithTorso, Lifetimes):
    """Options of every algorithm whose learner adapts by Q-learning.

    Attributes:
      updates: gradient steps of an adaptation.
      batch_size: transitions (stretches of n_step) of a gradient step.
      buffer_size: transitions that a task's replay buffer holds.
      buffer_budget: bytes that all buffers of a device may take together.
      learning_starts: transitions before the first gradient step.
      n_step: steps of a target.
      double: choose the next action by the values, rate it by the target network.
      dueling: a value and advantages instead of one output an action.
      inner_optimizer: of the values.
      inner_lr: its learning rate.
      inner_clip: largest norm of a gradient; none for no clipping.
      discount: per step.
      huber_delta: where the loss turns from squares to absolute values, in units of the
        values.
      target_rate: how far the target network moves at an update of it; 1 copies.
      target_period: gradient steps between two of those.
      exploration: by epsilon alone, or "boltzmann" with epsilon on top.
      epsilon: probability of a uniformly random action, at the start and at the end.
      epsilon_steps: transitions over which it falls linearly.
      temperature: of "boltzmann", in units of the values.
    """

    # Not 0 where something differentiates through the updates.
    adam_floor: ClassVar[float] = 0.0
    fewer_buffers: ClassVar[str] = ". A smaller microbatch has fewer at once"

    updates: int = 1
    batch_size: int = 128
    buffer_size: int = 10_000
    buffer_budget: float = 8e9
    learning_starts: int = 1000
    n_step: int = 1
    double: bool = True
    dueling: bool = False
    hidden_sizes: tuple[int, ...] = (120, 84)
    inner_optimizer: Literal["adam", "sgd", "rmsprop"] = "adam"
    inner_lr: float = 2.5e-4
    inner_clip: float | None = None
    discount: float = 0.99
    huber_delta: float = 100.0
    target_rate: float = 1.0
    target_period: int = 50
    exploration: Literal["epsilon-greedy", "boltzmann"] = "epsilon-greedy"
    epsilon: tuple[float, float] = (1.0, 0.05)
    epsilon_steps: int = 5000
    temperature: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_torso()
        for name in (
            *("updates", "batch_size", "buffer_size", "buffer_budget", "n_step"),
            *("target_period", "epsilon_steps"),
        ):
            check_number(name, getattr(self, name), minimum=1)
        check_number("learning_starts", self.learning_starts, minimum=0)
        check_number("inner_lr", self.inner_lr, minimum=0)
        for name in ("huber_delta", "temperature", "inner_clip"):
            check_number(name, getattr(self, name), above=0)
        for name in ("discount", "target_rate", "epsilon"):
            check_number(name, getattr(self, name), minimum=0, maximum=1)

    @property
    def num_trials(self) -> int:
        """Of a meta-iteration."""
        return self.num_tasks

    @property
    def minibatches(self) -> int:
        """How many parts of those have an update of their own."""
        return 1

    def build(self, family: TaskFamily) -> MetaAlgorithm:
        """The algorithm on a task family.

        Raises:
          OptionError: for sizes that do not fit the family, the devices or the budget.
        """
        from metajax.core.layout import TaskMap, default_block

        layout = TaskMap.build(
            self.num_trials,
            self.microbatch,
            num_devices=self.devices,
            at_most=_LIFETIMES,
            num_minibatches=self.minibatches,
        )
        # Small batches want more tasks in a product, and buffers fewer of them in the cache.
        layout = dataclasses.replace(layout, gradient_microbatch=layout.microbatch)
        replay = self.replay(family)
        self.check_budget(replay, self.buffers_at_once(layout))
        learner = self.learner(family, replay)
        rule = self.outer_rule(family, learner, self.source(family, learner), layout)
        in_budget = max(1, int(self.buffer_budget // replay.num_bytes))
        tested = min(default_block(), _LIFETIMES, in_budget)
        return self.composed(learner, rule, family, microbatch=self.microbatch or tested)

    def outer_rule(
        self, family: TaskFamily, learner: Learner, source: Source, layout: TaskMap
    ) -> Outer:
        """What is learned across tasks; each algorithm has its own."""
        raise NotImplementedError

    def replay(self, family: TaskFamily, *, name: str = "buffer_size") -> Replay:
        """The replay buffer of a task; ``name`` is the option that sizes it, for errors."""
        from metajax import inner

        return inner.uniform_replay(
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
        """The DQN of these options, or with other arguments of ``metajax.inner.q_learner``."""
        from metajax import inner

        arguments = {
            "optimizer": self.inner_rule(),
            "settings": self.settings,
            "boltzmann": self.exploration == "boltzmann",
            "double": self.double,
            "updates": self.updates,
            "target_period": self.target_period,
        }
        return inner.q_learner(self.values(family), replay, **{**arguments, **changes})

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
        """Where epsilon has got to on its way to ``end``."""
        import jax.numpy as jnp

        left = jnp.maximum(1 - env_steps / self.epsilon_steps, 0)
        return end + (self.epsilon[0] - end) * left

    def buffers_at_once(self, layout: TaskMap) -> int:
        """Replay buffers that a device holds at a time: those of a block of lifetimes."""
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
