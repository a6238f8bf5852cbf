"""A small MLP as the update rule of every weight."""

from __future__ import annotations

import dataclasses

from metajax.algorithms.optimizers.base import LearnedOptimizer
from metajax.core.options import Count, Positive


@dataclasses.dataclass(frozen=True, kw_only=True)
class MLPOptimizer(LearnedOptimizer):
    """An MLP that trains a network, coordinate by coordinate, from momenta of its gradients.

    ``metajax.load_run(path).optimizer`` is the trained one, an optax transformation; it is
    ``metajax.inner.mlp_rule(theta)``.

    Source: Metz et al. (2019), "Understanding and correcting pathologies in the training of
    learned optimizers".

    Attributes:
      rule_sizes: Units of each hidden layer of the MLP.
      output_scale: Factor of the MLP's step.
    """

    rule_sizes: tuple[Count, ...] = (32, 32)
    output_scale: Positive = 0.01

    def initial(self, key):
        from metajax import inner

        return inner.init_mlp_rule(key, hidden_sizes=self.rule_sizes)

    def optimizer_of(self, theta):
        from metajax import inner

        return inner.mlp_rule(theta, scale=self.output_scale, second_order=self.second_order)
