"""ES-MAML: initial weights by evolution strategies, without meta-gradients."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from metajax.algorithms.common.optimizers import Rate
from metajax.algorithms.gradient.base import GradientBased
from metajax.core.options import AtLeast, Count, Positive


@dataclasses.dataclass(frozen=True, kw_only=True)
class ESMAML(GradientBased):
    """ES-MAML (Song et al. 2020): initial weights that are found by perturbing them.

    Theta follows ``mean((F(theta + std z) - F(theta - std z)) z) / (2 std)`` over normal z,
    where F is the score after adaptation: the gradient of a smoothed F, estimated without any
    derivative of the adaptation. The optimiser is that of a meta-gradient.

    Source: Song et al. (2020), "ES-MAML: Simple Hessian-free meta learning", section 3.
    Deviations: adaptation is by gradient steps, all members see the same tasks and the same
    randomness, and scores are replaced by their ranks (Salimans et al. 2017). There is no
    gradient through trials, so ``gradient_microbatch`` changes nothing.

    Attributes:
      num_tasks: Number of tasks N, in each of which every member adapts.
      population_size: Number of members P in a meta-iteration, half of which mirror the others.
      std: Standard deviation of the perturbations.
      fitness: Measure of a member: its score after the "last" adaptation, or the "area" under
        the scores after 1 to K adaptations.
    """

    num_tasks: Count = 8
    hidden_sizes: tuple[Count, ...] = (32, 32)
    learning_rate: Rate = 0.01
    population_size: Annotated[int, AtLeast(2)] = 64
    std: Positive = 0.05
    fitness: Literal["last", "area"] = "last"

    def layout(self, **options):
        return super().layout(num_tasks=self.num_tasks * self.population_size, **options)

    def outer_products(self, each, updates):
        return 0.0

    def arithmetic(self, spec):
        from metajax.core.arithmetic import Arithmetic

        member = super().arithmetic(spec)
        return member and Arithmetic(*(self.population_size * one for one in member))

    def outer_rule(self, problem, layout):
        from metajax import outer

        search = outer.evosax_search(
            "open-es", self.population_size, std=self.std, optimizer=self.meta_optimizer()
        )
        return outer.evolution(problem, layout, search, fitness=outer.FITNESS[self.fitness])
