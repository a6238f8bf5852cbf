"""Joint training on all tasks at once: the baseline without meta-learning."""

from __future__ import annotations

import dataclasses

from metajax.algorithms.gradient.maml import MAML


@dataclasses.dataclass(frozen=True, kw_only=True)
class Joint(MAML):
    """One policy for all tasks, trained for its return before any adaptation.

    It is MAML with no inner step, so it sees the same tasks through the same code.
    Evaluated with ``num_adaptations`` above 0 it is fine-tuned like MAML: the
    "pretrained" row of Finn et al. (2017), section 5.3.

    Attributes:
      inner_steps: 0.
    """

    inner_steps: int = 0
