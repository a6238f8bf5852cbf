"""Actor-critic whose return and loss are learned online by meta-gradients."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

from metajax.algorithms.actor_critic.base import ActorCriticBased
from metajax.algorithms.settings.base import MetaGradients, initial, raw, recorded, settings
from metajax.core.options import Count, Fraction, check

if TYPE_CHECKING:
    import jax

    from metajax.core.algorithm import MetaAlgorithm
    from metajax.core.family import TaskFamily
    from metajax.core.types import Learner
    from metajax.inner.actor_critic import ActorCriticSettings


@dataclasses.dataclass(frozen=True, kw_only=True)
class MetaGradientActorCritic(MetaGradients, ActorCriticBased):
    """Meta-gradient actor-critic (Xu et al. 2018): return and loss coefficients learned online.

    Theta is a number a setting: the logit of what lies between 0 and 1, the logarithm of what
    is positive. Phi is an actor-critic: weights and optimiser. A meta-iteration
    lets ``num_tasks`` lifetimes go on by ``window`` updates of a chunk each and descends the
    actor-critic loss on the next chunk, with ``reference_discount``, ``reference_lambda`` and
    the coefficients that are not learned, through those updates. A trial is a plain lifetime
    with the settings as they were at the end of training; ``info`` holds each setting at
    every meta-iteration.

    Source: Xu et al. (2018), "Meta-gradient reinforcement learning", for discount and lambda;
    Zahavy et al. (2020), "A self-tuning actor-critic algorithm", for the coefficients. Unlike
    in the large experiments of the former, values and policy are not told the settings.

    Attributes:
      learned: Names of the learned settings, among inner_lr, discount, gae_lambda,
        value_coefficient and entropy_coefficient. Each starts from its option's value; the other
        settings stay at theirs.
      num_tasks: Number of lifetimes N that go on side by side.
      state_discount: Whether the discount depends on the state that a step leads to: the sigmoid
        of ``discount``'s logit plus a linear function of the observation, which starts at 0. For
        one-hot observations that is a table, shown by the metrics; for others the metrics show
        the discount of each feature alone.
      reference_lambda: Lambda of the loss that settings are learned for.
    """

    learnable: ClassVar[tuple[str, ...]] = (
        *("inner_lr", "discount", "gae_lambda"),
        *("value_coefficient", "entropy_coefficient"),
    )

    learned: tuple[str, ...] = ("discount", "gae_lambda")
    window: Count = 1
    state_discount: bool = False
    reference_lambda: Fraction = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_meta(self._starts(), self.num_adaptations)
        possible = "discount" in self.learned or not self.state_discount
        allowed = "discount among them, where it is one of the state"
        check(possible, "learned", self.learned, allowed)

    def _starts(self):
        return {name: getattr(self, name) for name in self.learnable}

    def build(self, family: TaskFamily) -> MetaAlgorithm:
        """The algorithm on a task family; raises OptionError for sizes that do not fit."""
        from metajax import outer

        layout = self.layout(whole=True)
        problem = self.problem(family, self.learner(family))
        reference = self.settings({})._replace(
            discount=self.reference_discount, gae_lambda=self.reference_lambda
        )
        estimator = outer.truncated(
            problem,
            layout,
            reference.loss,
            window=self.window,
            judge=self.learner(family, settings=lambda theta: reference),
            derivative=self.derivative,
        )
        rule = outer.once(estimator, self.meta_optimizer())
        return self.composed(problem, recorded(rule, self.record))

    def learner(self, family: TaskFamily, **changes: Any) -> Learner:
        return super().learner(family, **{"init": lambda key: self.initial(family), **changes})

    def initial(self, family: TaskFamily) -> dict[str, jax.Array]:
        """Theta at the start: logits, logarithms, and for a discount of the state its weights."""
        import jax.numpy as jnp

        theta = initial(self.learned, self._starts())
        if self.state_discount:
            theta["discount"] = jnp.zeros(family.spec.observation_shape, jnp.float32)
        return theta

    def record(self, theta: dict[str, jax.Array]) -> dict[str, jax.Array]:
        """The settings as metrics show them: a discount of the state for each feature alone."""
        if self.state_discount:
            theta = theta | {"discount": theta["discount"] + raw("discount", self.discount)}
        return settings(theta)

    def settings(self, theta: dict[str, jax.Array]) -> ActorCriticSettings:
        """The numbers of actor-critic; those that are not learned are the options'."""
        import jax
        import jax.numpy as jnp

        from metajax.inner import ActorCriticSettings

        now = self._starts() | settings(theta)
        if self.state_discount and theta:
            start, table = raw("discount", self.discount), theta["discount"]

            def of_state(observation):
                change = jnp.sum(observation * table, axis=range(2, observation.ndim))
                return jax.nn.sigmoid(start + change)

            now["discount"] = of_state
        return ActorCriticSettings(learning_rate=now.pop("inner_lr"), **now)
