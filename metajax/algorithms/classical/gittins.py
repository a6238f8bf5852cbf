"""The Gittins index."""

from __future__ import annotations

import dataclasses
from typing import Annotated, ClassVar

from metajax.algorithms.classical.base import BanditMethod
from metajax.core.options import AtLeast, Below, OptionError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gittins(BanditMethod):
    """Gittins index (Gittins 1979): pulls the arm of the highest index under a uniform prior.

    Optimal for the discounted return of an endless trial. Of a finite one the discount
    is an approximation, to be tuned: Duan et al. (2016) try 0.9, 0.99, 0.999 and 0.9999.
    The indices are computed when the algorithm is built, for as many pulls as the family's
    trials have: longer trials, of a held-out family, are refused.

    Source: Gittins (1979), "Bandit processes and dynamic allocation indices".

    Attributes:
      discount: Discount per pull; a Python number, as the computation is not traced.
    """

    discount: Annotated[float, AtLeast(0), Below(1)] = 0.99

    name: ClassVar[str] = "gittins"

    def bandit_rule(self, num_arms, spec):
        from jax.core import Tracer

        from metajax.inner.classical import bandit
        from metajax.inner.classical.gittins import bernoulli_indices

        if isinstance(self.discount, Tracer):
            raise OptionError(
                "discount", "is traced; allowed: a number known when the indices are computed"
            )
        table = bernoulli_indices(self.num_pulls(spec), float(self.discount))
        return bandit.bandit_rule(num_arms, bandit.index_table(table))

    def check_held_out(self, given, planned):
        super().check_held_out(given, planned)
        known, asked = self.num_pulls(planned), self.num_pulls(given)
        if asked > known:
            raise OptionError(
                "family",
                f"{given.name} has trials of {asked} pulls; allowed: {known} at most, those of "
                f"{planned.name}, for which the indices were computed",
            )
