"""Matching networks."""

from __future__ import annotations

import dataclasses
import functools
from typing import Annotated

from metajax.algorithms.fewshot.base import MetricBased
from metajax.core.options import AtLeast


@dataclasses.dataclass(frozen=True, kw_only=True)
class Matching(MetricBased):
    """Matching networks: attention over the support examples, by cosine similarity.

    One adaptation remembers the support examples; theta descends the cross-entropy of the
    query examples. With full context embeddings, LSTMs embed support and query examples in
    view of the whole support set.

    Source: Vinyals et al. (2016), "Matching networks for one shot learning", section 2.1 and
    appendix A. Deviations: several tasks a meta-update; any embedding network, and one for
    both support and query; the support set is read in turn of its classes.

    Attributes:
      context_steps: Number of times that the attention LSTM of full context embeddings reads the
        support set. 0: each example is embedded by itself.
    """

    context_steps: Annotated[int, AtLeast(0)] = 0

    def learner(self, spec, embedding):
        from metajax import inner, networks

        context = networks.FullContext(self.context_steps) if self.context_steps else None
        return functools.partial(inner.matching, spec, embedding, context=context)
