"""Actor-critic whose return and loss are learned online by meta-gradients."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from metajax.algorithms.actor_critic.base import ActorCriticBased
from metajax.algorithms.settings.base import MetaGradients, initial, raw, recorded, setting
from metajax.core.options import AtLeast, Count, Fraction, NonNegative, check

if TYPE_CHECKING:
    import jax

    from metajax.core.algorithm import Estimator, MetaAlgorithm
    from metajax.core.family import Key, TaskFamily
    from metajax.core.layout import Layout
    from metajax.core.problem import Problem
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

    With a ``reward_history`` a setting is not a number but follows how the learner has been
    doing: theta are the weights of an MLP from the mean rewards of the last chunks to the change
    of all logits and logarithms, which starts at 0. ``info`` then holds the mean over lifetimes.

    Source: Xu et al. (2018), "Meta-gradient reinforcement learning", for discount and lambda;
    Zahavy et al. (2020), "A self-tuning actor-critic algorithm", for the coefficients;
    Flennerhag et al. (2022), "Bootstrapped meta-learning", section 5.1, for settings that follow
    rewards. Unlike in the large experiments of the first, values and policy are not told the
    settings.

    Attributes:
      learned: Names of the learned settings, among inner_lr, discount, gae_lambda,
        value_coefficient and entropy_coefficient. Each starts from its option's value; the other
        settings stay at theirs.
      num_tasks: Number of lifetimes N that go on side by side.
      state_discount: Whether the discount depends on the state that a step leads to: the sigmoid
        of ``discount``'s logit plus a linear function of the observation, which starts at 0. For
        one-hot observations that is a table, shown by the metrics; for others the metrics show
        the discount of each feature alone.
      reward_history: Number of chunks whose mean rewards the settings follow; 0 for numbers.
      setting_sizes: Units of each hidden layer of the MLP from rewards to settings.
      reference_lambda: Lambda of the loss that settings are learned for.
      reference_entropy: Weight of the entropy in that loss. Default: ``entropy_coefficient``.
    """

    learnable: ClassVar[tuple[str, ...]] = (
        *("inner_lr", "discount", "gae_lambda"),
        *("value_coefficient", "entropy_coefficient"),
    )

    learned: tuple[str, ...] = ("discount", "gae_lambda")
    window: Count = 1
    state_discount: bool = False
    reward_history: Annotated[int, AtLeast(0)] = 0
    setting_sizes: tuple[Count, ...] = (32,)
    reference_lambda: Fraction = 1.0
    reference_entropy: NonNegative | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_meta(self._starts(), self.num_adaptations)
        possible = "discount" in self.learned or not self.state_discount
        allowed = "discount among them, where it is one of the state"
        check(possible, "learned", self.learned, allowed)
        alone = not (self.state_discount and self.reward_history)
        check(alone, "reward_history", self.reward_history, "0 with a discount of the state")

    def _starts(self):
        return {name: getattr(self, name) for name in self.learnable}

    def build(self, family: TaskFamily) -> MetaAlgorithm:
        """The algorithm on a task family; raises OptionError for sizes that do not fit."""
        from metajax import outer

        problem = self.problem(family, self.informed_learner(family, self.settings))
        reference = self.settings(None)._replace(
            discount=self.reference_discount, gae_lambda=self.reference_lambda
        )
        if self.reference_entropy is not None:
            reference = reference._replace(entropy_coefficient=self.reference_entropy)
        estimator = self.estimator(problem, self.layout(whole=True), reference)
        return self.composed(
            problem, recorded(outer.once(estimator, self.meta_optimizer()), self.record)
        )

    def estimator(
        self, problem: Problem, layout: Layout, reference: ActorCriticSettings
    ) -> Estimator:
        """The meta-gradient towards the objective of the reference settings."""
        from metajax import outer

        return outer.truncated(
            problem,
            layout,
            reference.loss,
            window=self.window,
            judge=self.informed_learner(problem.family, lambda theta: reference),
            derivative=self.derivative,
        )

    def informed_learner(
        self, family: TaskFamily, now: Callable[[Any], ActorCriticSettings]
    ) -> Learner:
        """The actor-critic with its settings, which may follow its rewards."""
        from metajax import inner

        learner = self.learner(family, settings=now, init=lambda key: self.initial(key, family))
        if not self.reward_history:
            return learner
        return inner.with_recent_rewards(learner, self.reward_history)

    def initial(self, key: Key, family: TaskFamily) -> Any:
        """Theta at the start: logits and logarithms, or the weights that give them."""
        import jax.numpy as jnp

        if self.reward_history:
            return self._network().init(key, jnp.zeros(self.reward_history, jnp.float32))
        theta = initial(self.learned, self._starts())
        if self.state_discount:
            theta["discount"] = jnp.zeros(family.spec.observation_shape, jnp.float32)
        return theta

    def _network(self):
        import flax.linen as nn

        from metajax import networks

        change = nn.Dense(len(self.learned), kernel_init=nn.initializers.zeros)
        return nn.Sequential([lambda one: one[None], networks.MLP(self.setting_sizes), change])

    def raws(self, theta: Any) -> dict[str, jax.Array]:
        """Logits and logarithms of the learned settings under a theta as the learner gets it."""
        if not self.reward_history:
            return theta
        changes: Any = self._network().apply(*theta)
        starts = initial(self.learned, self._starts())
        return {name: starts[name] + changes[0, i] for i, name in enumerate(self.learned)}

    def record(self, theta: Any, carry: Any) -> dict[str, jax.Array]:
        """The settings as metrics show them: a discount of the state for each feature alone."""
        import jax
        import jax.numpy as jnp

        from metajax.inner.informed import Informed

        if self.reward_history:
            recent = carry.estimator.life.phi.recent
            raws = jax.vmap(lambda one: self.raws(Informed(theta, one)))(recent)
            return {name: jnp.mean(setting(name, value)) for name, value in raws.items()}
        if self.state_discount:
            theta = theta | {"discount": theta["discount"] + raw("discount", self.discount)}
        return {name: setting(name, value) for name, value in theta.items()}

    def settings(self, theta: Any) -> ActorCriticSettings:
        """The numbers of actor-critic under theta; without one all are the options'."""
        import jax
        import jax.numpy as jnp

        from metajax.inner import ActorCriticSettings

        raws = {} if theta is None else self.raws(theta)
        now = self._starts() | {name: setting(name, value) for name, value in raws.items()}
        if self.state_discount and raws:
            start, table = raw("discount", self.discount), raws["discount"]

            def of_state(observation):
                change = jnp.sum(observation * table, axis=range(2, observation.ndim))
                return jax.nn.sigmoid(start + change)

            now["discount"] = of_state
        return ActorCriticSettings(learning_rate=now.pop("inner_lr"), **now)
