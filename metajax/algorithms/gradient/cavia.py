"""CAVIA: a context vector adapts, and the network that reads it is shared."""

from __future__ import annotations

import dataclasses
import math

from metajax.algorithms.gradient.maml import MAML
from metajax.core.options import Count, NonNegative


@dataclasses.dataclass(frozen=True, kw_only=True)
class CAVIA(MAML):
    """CAVIA (Zintgraf et al. 2019): fast adaptation of a context, an input of the network.

    The context starts each task at zero. Policy and value network, or the predictor of labelled
    examples, read it behind the flattened observation; theta are their weights alone.

    Source: Zintgraf et al. (2019), "Fast context adaptation via meta-learning", section 3.2.

    Attributes:
      context_size: Length of the context.
    """

    context_size: Count = 5
    inner_lr: NonNegative | tuple[NonNegative, ...] = 1.0

    def inner_products(self, each):
        # What the context adds to the first layer is the same for all samples.
        return each.gradient - each.forward

    def derivative_products(self, each, updates):
        # Back through the products of the gradient's way down (4 V), then through the forward
        # ones (2 W + 2 V).
        return updates * (3 * each.gradient - 5 * each.forward)

    def model(self, family):
        import jax.numpy as jnp

        from metajax.core.family import DataFamily

        field = "input_shape" if isinstance(family, DataFamily) else "observation_shape"
        size = math.prod(getattr(family.spec, field)) + self.context_size
        spec = dataclasses.replace(family.spec, **{field: (size,)})
        model = super().model(family._replace(spec=spec))

        def reading(network):
            def of_observation(weights, observation):
                rows = observation.reshape(len(observation), -1)
                context = jnp.broadcast_to(weights["context"], (len(rows), self.context_size))
                return network(weights, jnp.concatenate([rows, context], axis=1))

            return of_observation

        networks = {name: getattr(model, name, None) for name in ("apply", "value")}
        return model._replace(**{name: reading(one) for name, one in networks.items() if one})

    def learner(self, family, **changes):
        import jax.numpy as jnp

        from metajax import inner

        partition = inner.Partition(
            split=lambda theta: jnp.zeros(self.context_size),
            merge=lambda theta, context: {**theta, "context": context},
        )
        return super().learner(family, partition=partition, **changes)
