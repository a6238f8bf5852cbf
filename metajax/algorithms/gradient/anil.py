"""ANIL: MAML that adapts the head alone."""

from __future__ import annotations

import dataclasses

from metajax.algorithms.gradient.maml import MAML


@dataclasses.dataclass(frozen=True, kw_only=True)
class ANIL(MAML):
    """ANIL (Raghu et al. 2020), almost no inner loop: features are shared, heads adapt.

    A head is all of a network but its torso: the last layer and, for continuous actions, the
    standard deviation. With ``baseline = "value"`` the head of the value network adapts too.

    Source: Raghu et al. (2020), "Rapid learning or feature reuse? Towards understanding the
    effectiveness of MAML", section 4.
    """

    def inner_products(self, each):
        return each.forward + each.head

    def derivative_products(self, each, updates):
        # Back through both factors of the head's gradient, then through the forward products.
        return updates * (each.gradient - each.forward + 2 * each.head)

    def learner(self, family, **changes):
        from metajax import inner

        return super().learner(family, partition=inner.HEADS, **changes)
