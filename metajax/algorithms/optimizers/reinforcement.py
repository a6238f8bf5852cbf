"""Learned optimisers whose optimisees are agents."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any, Literal

from metajax.algorithms.actor_critic.base import ActorCriticBased
from metajax.algorithms.common.lifetimes import LifetimeOptions
from metajax.algorithms.common.optimizers import ADAM_FLOOR, MetaOptimized, Rate, inner_optimizer
from metajax.algorithms.q.base import QBased
from metajax.core.options import AtLeast, Count, NonNegative, OptionError, Positive, check

if TYPE_CHECKING:
    import optax

    from metajax.core.algorithm import Estimator, Outer
    from metajax.core.family import Key, Tree
    from metajax.core.layout import Layout
    from metajax.core.problem import Problem
    from metajax.core.types import Learner, Loss
    from metajax.inner import Rule
    from metajax.networks import Policy, QNetwork


@dataclasses.dataclass(frozen=True, kw_only=True)
class LearnedAgentOptimizer(MetaOptimized, LifetimeOptions):
    """Options of every optimiser that is trained by training agents.

    Theta are the parameters of the optimiser. The agent, from random weights in every task, and
    the memory of the optimiser are phi. At the start of training the step is that of Adam: the
    optimiser multiplies it, and adds a step of its own.

    Attributes:
      inner_optimizer: The optimiser that is learned: "mlp" (``metajax.inner.mlp_rule``) or
        "lstm" (``metajax.inner.lstm_rule``).
      inner_lr: Step size of the Adam that it begins as.
      inner_clip: Largest global norm of a gradient that the optimiser reads; "none" for no
        clipping.
      rule_sizes: Units of each layer of the optimiser; those of an "lstm" are all equal.
      output_scale: Factor of the step that the optimiser adds.
      inputs: What "mlp" reads beside gradients and weights, among time, progress, layer and
        dormancy (see ``metajax.inner.mlp_rule``).
      estimator: Meta-gradient: "open-es", an evolution strategy of whole lifetimes; "es" and
        "pes", evolution strategies in windows of lifetimes that go on, the latter unbiased by
        the window; or "truncated", backpropagation of the agent's loss through the window. The
        evolution strategies climb the return of the agent.
      window: A meta-step of "es" and "pes" makes lifetimes ``window + 1`` adaptations older; one
        of "truncated" goes through as many as ``window``.
      second_order: Whether "truncated" also goes through the gradients that the optimiser reads.
      population_size: Number of members of "open-es", each in the same ``num_tasks`` lifetimes.
      fitness: What "open-es" compares: the "area" under the learning curve, sampled at the
        ``num_points`` of a lifetime, or its "last" point.
      perturbation_std: Standard deviation of the perturbations of evolution strategies.
    """

    num_tasks: Count = 8
    inner_optimizer: Literal["mlp", "lstm"] = "mlp"  # pyright: ignore[reportIncompatibleVariableOverride]
    inner_lr: NonNegative = 1e-3
    inner_clip: Positive | None = None
    rule_sizes: tuple[Count, ...] = (16, 16)
    output_scale: Positive = 1e-3
    inputs: tuple[Literal["time", "progress", "layer", "dormancy"], ...] = (
        *("progress", "layer", "dormancy"),
    )
    estimator: Literal["open-es", "es", "pes", "truncated"] = "open-es"
    window: Count = 9
    second_order: bool = False
    population_size: Annotated[int, AtLeast(2)] = 32
    fitness: Literal["area", "last"] = "area"
    perturbation_std: Positive = 0.03
    learning_rate: Rate = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        allowed = f"fewer than the adaptations of a lifetime ({self.num_adaptations})"
        fits = self.window < self.num_adaptations or self.estimator == "open-es"
        check(fits, "window", self.window, allowed)
        equal = len(set(self.rule_sizes)) == 1 or self.inner_optimizer != "lstm"
        check(equal, "rule_sizes", self.rule_sizes, 'one size, repeated, for "lstm"')

    @property
    def num_trials(self) -> int:
        """Trials of a meta-iteration."""
        return self.num_tasks * (self.population_size if self.estimator == "open-es" else 1)

    @property
    def num_inner_steps(self) -> int:
        """Steps of the optimiser in a lifetime."""
        return self.num_adaptations

    @property
    def noise(self) -> str | None:
        """The entry of the agent's weights whose steps get noise."""
        return None

    def initial(self, key: Key) -> Tree:
        """Theta at the start."""
        from metajax import inner

        if self.inner_optimizer == "lstm":
            size, number = self.rule_sizes[0], len(self.rule_sizes)
            return inner.init_lstm_rule(key, hidden_size=size, num_layers=number, nominal=True)
        return inner.init_mlp_rule(
            key,
            hidden_sizes=self.rule_sizes,
            inputs=self.inputs,
            nominal=True,
            noise=self.noise is not None,
        )

    def optimizer_of(self, theta: Tree) -> optax.GradientTransformation:
        """The optimiser that theta are the parameters of.

        With dormancy or noise its update needs more than weights, see ``metajax.inner.mlp_rule``.
        """
        import optax

        from metajax import inner

        common: dict[str, Any] = {
            "scale": self.output_scale,
            "second_order": self.second_order,
            "nominal": optax.adam(self.inner_lr, eps_root=ADAM_FLOOR),
        }
        if self.inner_optimizer == "lstm":
            return inner.lstm_rule(theta, **common)
        told = {"inputs": self.inputs, "horizon": self.num_inner_steps, "noise": self.noise}
        return inner.mlp_rule(theta, **common, **told)

    def learned_rule(self, network: Policy | QNetwork) -> Rule:
        """The inner rule for the weights of a network, with the optimiser of theta in it."""
        import optax

        from metajax import inner

        told = self.optimizer_of
        if self.inner_optimizer == "mlp" and "dormancy" in self.inputs:
            if network.activity is None:
                allowed = "no dormancy with convolutions or a network of your own"
                raise OptionError("inputs", f"{self.inputs} are not possible; allowed: {allowed}")
            told = inner.told_dormancy(told, network.activity)
        before, after = self.inner_rule(), optax.scale(-1.0)
        return lambda theta: optax.chain(before, inner.made(told, theta), after)

    def inner_rule(self) -> optax.GradientTransformation:
        """The transformation of gradients before the optimiser reads them."""
        return inner_optimizer("sgd", max_grad_norm=self.inner_clip)

    def outer_rule(self, problem: Problem, layout: Layout) -> Outer:
        """How theta improves."""
        from metajax import outer

        optimizer = self.meta_optimizer()
        if self.estimator != "open-es":
            return outer.once(self.meta_gradient(problem, layout), optimizer)
        search = outer.evosax_search(
            "open-es", self.population_size, std=self.perturbation_std, optimizer=optimizer
        )
        return outer.evolution(problem, layout, search, fitness=outer.FITNESS[self.fitness])

    def meta_gradient(self, problem: Problem, layout: Layout) -> Estimator:
        """The estimator of these options, if it is one."""
        from metajax import outer

        if self.estimator == "truncated":
            return outer.truncated(
                problem,
                layout,
                self.agent_loss(),
                window=self.window,
                judge=self.judge(problem.learner),
                every_step=True,
            )
        return outer.evolution_gradient(
            problem,
            layout,
            None,
            window=self.window,
            std=self.perturbation_std,
            persistent=self.estimator == "pes",
        )

    def agent_loss(self) -> Loss:
        """The loss of "truncated", on each chunk before it is adapted to."""
        raise NotImplementedError

    def judge(self, learner: Learner) -> Learner:
        """The learner that predicts for ``agent_loss``."""
        return learner


@dataclasses.dataclass(frozen=True, kw_only=True)
class L2OActorCritic(LearnedAgentOptimizer, ActorCriticBased):  # pyright: ignore[reportIncompatibleVariableOverride]
    """A learned optimiser of actor-critic agents, which is trained by training them (OPEN).

    "truncated" descends the loss of actor-critic on each chunk, whose gradient in the weights
    of the policy is that of the return.

    Source: Goldie et al. (2024), "Can learned optimization make reinforcement learning less
    difficult?", for the inputs, the noise and "open-es" on returns; Vicol et al. (2021),
    "Unbiased gradient estimation in unrolled computation graphs with persistent evolution
    strategies", for "pes"; Harrison et al. (2022), "A closer look at learned optimization:
    stability, robustness, and inductive biases", for the Adam that it begins as. Deviations: A2C
    in the place of PPO, and those of ``metajax.inner.mlp_rule``.

    Attributes:
      exploration: Whether the optimiser adds noise of learned size to the policy's weights;
        only with "mlp".
    """

    num_streams: Count = 8
    num_steps: Count = 8
    lifetime: Count = 6400
    exploration: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        possible = not self.exploration or self.inner_optimizer == "mlp"
        check(possible, "exploration", self.exploration, 'false with "lstm"')

    @property
    def noise(self):
        return "policy" if self.exploration else None

    def learner(self, family, **changes):
        learned = {"init": self.initial, "optimizer": self.learned_rule(self.policy(family))}
        return super().learner(family, **{**learned, **changes})

    def build(self, family):
        """The algorithm on a task family; raises OptionError for sizes that do not fit."""
        layout = self.layout(num_tasks=self.num_trials)
        layout = dataclasses.replace(layout, gradient_microbatch=layout.microbatch)
        problem = self.problem(family, self.learner(family))
        return self.composed(problem, self.outer_rule(problem, layout))

    def settings(self, theta):
        return super().settings(theta)._replace(learning_rate=1.0)

    def agent_loss(self):
        return self.settings(()).loss


@dataclasses.dataclass(frozen=True, kw_only=True)
class L2ODQN(LearnedAgentOptimizer, QBased):  # pyright: ignore[reportIncompatibleVariableOverride]
    """A learned optimiser of DQN agents, which is trained by training them.

    "truncated" descends the squared error of the values on each chunk against their return up to
    the end of the chunk and their own value of what comes after.

    Source: Goldie et al. (2024), "Can learned optimization make reinforcement learning less
    difficult?", for the inputs and "open-es" on returns, there for PPO.

    Attributes:
      updates: Number of gradient steps in an adaptation.
    """

    def learner(self, family, replay, **changes):
        values = self.values(family)
        learned = {
            "init": self.initial,
            "start": lambda key, theta: values.init(key),
            "optimizer": self.learned_rule(values),
        }
        return super().learner(family, replay, **{**learned, **changes})

    @property
    def num_inner_steps(self):
        return self.num_adaptations * self.updates

    def settings(self, theta, env_steps):
        return super().settings(theta, env_steps)._replace(learning_rate=1.0)

    def agent_loss(self):
        from metajax import losses

        return losses.return_error(self.discount)

    def judge(self, learner):
        from metajax import inner

        return inner.without_target(learner)
