"""Joint training on all tasks at once: the baseline without meta-learning."""

from __future__ import annotations

import dataclasses
from typing import Annotated

from metajax.algorithms.gradient.maml import MAML
from metajax.core.options import AtLeast


@dataclasses.dataclass(frozen=True, kw_only=True)
class Joint(MAML):
    """Joint training: one policy for all tasks, without meta-learning.

    It is MAML with no inner step, so it sees the same tasks through the same code.
    Evaluated with ``num_adaptations`` above 0 it is fine-tuned like MAML.

    Source: the "pretrained" baseline of Finn et al. (2017), section 5.3.

    Attributes:
      inner_steps: Number of adaptations K in a trial of training; 0 for joint training.
    """

    inner_steps: Annotated[int, AtLeast(0)] = 0
