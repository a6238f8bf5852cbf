"""DQN whose settings are learned online by meta-gradients."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Literal

from metajax.algorithms.common.optimizers import ADAM_FLOOR
from metajax.algorithms.q.base import QBased
from metajax.algorithms.settings.base import MetaGradients, initial, recorded, settings
from metajax.core.options import Count, Fraction, check


@dataclasses.dataclass(frozen=True, kw_only=True)
class MetaGradientDQN(MetaGradients, QBased):
    """Meta-gradients (Xu et al. 2018) of DQN: its settings learned online.

    Theta is a number a setting: the logit of what lies between 0 and 1, the logarithm of what
    is positive. All of a DQN is phi. A meta-iteration lets ``num_tasks`` lifetimes go on by
    ``window`` adaptations and descends, through those adaptations, the squared error of the
    values on the next chunk: against the return up to the end of the chunk, with
    ``reference_discount``, and their own value of what comes after. Epsilon, which changes the
    experience and not the update, is learned by the score function: the log-probability of
    each action times its advantage, that is its return up to the end of the window less the
    value of the policy. A trial is a plain lifetime with the settings as they
    were at the end of training; ``info`` holds each setting at every meta-iteration.

    Source: Xu et al. (2018), "Meta-gradient reinforcement learning", with Q-learning in the
    place of actor-critic. They learn discount and lambda; the other settings are ours.

    Attributes:
      learned: Names of the learned settings, among inner_lr, discount, epsilon (the value reached
        after ``epsilon_steps``), mix, huber_delta and target_rate. Each starts from its option's
        value; the other settings stay at theirs.
      num_tasks: Number of lifetimes N that go on side by side.
      mix: Lambda of the n-step targets.
      per_task: Whether each of the lifetimes that go on side by side has settings of its own,
        handed on to the next lifetime in its place. Trials use the mean of their logits and
        logarithms.
    """

    adam_floor: ClassVar[float] = ADAM_FLOOR
    fewer_buffers: ClassVar[str] = ". All lifetimes go on side by side: use fewer tasks"
    learnable: ClassVar[tuple[str, ...]] = (
        *("inner_lr", "discount", "epsilon", "mix", "huber_delta", "target_rate"),
    )

    num_tasks: Count = 16
    num_steps: Count = 10
    updates: Count = 10
    n_step: Count = 3
    mix: Fraction = 0.9
    target_rate: Fraction = 0.02
    target_period: Count = 1
    learned: tuple[str, ...] = learnable
    window: Count = 1
    per_task: bool = False
    inner_optimizer: Literal["adam", "sgd", "rmsprop"] = "adam"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_meta(self._starts(), self.num_adaptations)
        allowed = "at least 2 where mix is learned, which mixes targets of 1 to n_step steps"
        check("mix" not in self.learned or self.n_step > 1, "n_step", self.n_step, allowed)

    def _starts(self):
        starts = {name: getattr(self, name) for name in self.learnable}
        return {**starts, "epsilon": self.epsilon[1]}

    def initial(self, key):
        """Theta at the start: logits and logarithms, ``[N]`` each where tasks have their own."""
        import jax.numpy as jnp

        del key
        theta = initial(self.learned, self._starts())
        if self.per_task:
            return {name: jnp.full(self.num_tasks, start) for name, start in theta.items()}
        return theta

    def settings(self, theta, env_steps):
        now = {"inner_lr": self.inner_lr, "epsilon": self.epsilon[1], "mix": self.mix}
        now |= settings(theta)
        learning_rate = now.pop("inner_lr")
        epsilon = self.epsilon_after(env_steps, now.pop("epsilon"))
        unlearned = super().settings(theta, env_steps)
        return unlearned._replace(learning_rate=learning_rate, epsilon=epsilon, **now)

    def learner(self, family, replay, **changes):
        values = self.values(family)
        fresh = {"init": self.initial, "start": lambda key, theta: values.init(key)}
        return super().learner(family, replay, **{**fresh, **changes})

    def buffers_at_once(self, layout):
        return layout.num_tasks // layout.num_devices

    def outer_rule(self, problem, layout):
        from metajax import losses, outer

        behaviour_loss = None
        if "epsilon" in self.learned:
            behaviour_loss = losses.behaviour_loss(self.reference_discount)
        estimator = outer.truncated(
            problem,
            layout.resized(1) if self.per_task else layout,
            losses.return_error(self.reference_discount),
            window=self.window,
            judge=self._judge(problem.family),
            behaviour_loss=behaviour_loss,
            derivative=self.derivative,
        )
        rule = outer.once(estimator, self.meta_optimizer())
        return recorded(outer.separate(rule, layout) if self.per_task else rule)

    def _judge(self, family):
        """The learner with the reference discount and without a target network of its own."""
        from metajax import inner

        def reference(theta, env_steps):
            return self.settings(theta, env_steps)._replace(discount=self.reference_discount)

        learner = self.learner(family, self.replay(family), settings=reference)
        return inner.without_target(learner)
