"""The bases of optimisers: hand-designed ones, and those that are trained."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar, Literal

from metajax.algorithms.common.layouts import InGradientBlocks
from metajax.algorithms.common.optimizers import MetaOptimized
from metajax.algorithms.common.torsos import WithTorso
from metajax.core.options import Count, OptionError, Positive, check

if TYPE_CHECKING:
    import optax

    from metajax.core.algorithm import Estimator, MetaAlgorithm, Outer
    from metajax.core.family import DataFamily, Family, Key, Tree
    from metajax.core.problem import Problem
    from metajax.core.types import Learner


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainsNetworks(WithTorso, InGradientBlocks):
    """Options of every optimiser that trains a network in each task.

    The optimisee, a network with random initial weights, and the memory of the optimiser are
    phi. Theta is what the optimiser has learned.

    Attributes:
      num_tasks: Number of optimisations N side by side.
      num_streams: Number of labelled examples of a task, all of which each gradient sees.
      inner_steps: Length K of an optimisation in steps.
      hidden_sizes: Units of each hidden layer of the optimisee. Default: a linear model.
      bias: Whether the optimisee's output has a bias.
    """

    labelled: ClassVar[bool] = True

    num_tasks: Count = 128
    num_streams: Count = 10
    inner_steps: Count = 100
    hidden_sizes: tuple[Count, ...] = ()
    bias: bool = False

    def initial(self, key: Key) -> Tree:
        """Theta at the start."""
        raise NotImplementedError

    def optimizer_of(self, theta: Tree) -> optax.GradientTransformation:
        """The optimiser that theta are the parameters of."""
        raise NotImplementedError

    def outer_rule(self, problem: Problem) -> Outer:
        """How theta changes."""
        raise NotImplementedError

    def build(self, family: Family) -> MetaAlgorithm:
        """The algorithm on a family of labelled examples.

        Raises OptionError for another family, or sizes that do not fit the devices.
        """
        from metajax.composition import compose
        from metajax.core.family import DataFamily
        from metajax.data.few_shot import few_shot

        if not isinstance(family, DataFamily):
            problem = f"{family.spec.name} is an environment; allowed: a family of labelled"
            raise OptionError("family", f'{problem} examples, such as "quadratics"')
        problem = few_shot(
            family,
            self.learner(family),
            num_adaptations=self.inner_steps,
            num_streams=self.num_streams,
            num_query=self.num_streams,
        )
        return compose(problem, self.outer_rule(problem), microbatch=self.microbatch)

    def learner(self, family: DataFamily) -> Learner:
        """The optimisee, adapted by the optimiser."""
        from metajax import inner, losses, networks

        network = networks.predictor(family.spec, self.torso(), bias=self.bias)
        return inner.descent(
            self.initial,
            lambda weights, examples: network.apply(weights, examples.inputs),
            losses.term(losses.prediction_loss(family.spec)),
            self.optimizer_of,
            start=lambda key, theta: network.init(key),
            singly=False,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class LearnedOptimizer(MetaOptimized, TrainsNetworks):
    """Options of every optimiser that is trained by training networks.

    A meta-iteration takes ``window`` steps further in each of ``num_tasks`` optimisations that go
    on, and descends the mean of their losses on the way.

    Attributes:
      window: Number of steps that a meta-gradient goes through.
      estimator: Meta-gradient: "truncated", backpropagation through the window; "es",
        evolution strategies in the window; or "pes", persistent evolution strategies, unbiased
        by the window.
      perturbation_std: Standard deviation of the perturbations of "es" and "pes".
      second_order: Whether "truncated" also goes through the gradients that the optimiser reads.
    """

    window: Count = 20
    estimator: Literal["truncated", "es", "pes"] = "truncated"
    perturbation_std: Positive = 0.01
    second_order: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        allowed = f"fewer than inner_steps ({self.inner_steps})"
        check(self.window < self.inner_steps, "window", self.window, allowed)

    def outer_rule(self, problem: Problem) -> Outer:
        from metajax import outer

        return outer.once(self.meta_gradient(problem), self.meta_optimizer())

    def meta_gradient(self, problem: Problem) -> Estimator:
        """The estimator of these options."""
        from metajax import losses, outer

        layout, loss = self.layout(), losses.prediction_loss(problem.family.spec)
        if self.estimator == "truncated":
            if self.gradient_microbatch is None:
                layout = dataclasses.replace(layout, gradient_microbatch=layout.microbatch)
            return outer.truncated(problem, layout, loss, window=self.window, every_step=True)
        return outer.evolution_gradient(
            problem,
            layout,
            loss,
            window=self.window,
            std=self.perturbation_std,
            persistent=self.estimator == "pes",
        )
