"""First-order MAML."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from metajax.algorithms.gradient.maml import MAML


@dataclasses.dataclass(frozen=True, kw_only=True)
class FOMAML(MAML):
    """First-order MAML (Finn et al. 2017): MAML without second derivatives in the meta-gradient.

    The inner Jacobian is taken for the identity: the update is the policy gradient at the
    adapted weights, applied to the initial ones. Every option is MAML's.

    Source: Finn et al. (2017), section 5.2; Nichol et al. (2018), section 3.
    """

    first_order: ClassVar[bool] = True
