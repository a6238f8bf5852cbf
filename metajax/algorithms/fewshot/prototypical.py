"""Prototypical networks."""

from __future__ import annotations

import dataclasses

from metajax.algorithms.fewshot.base import MetricBased


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prototypical(MetricBased):
    """A learned space in which each class lies around the mean of its few examples.

    One adaptation averages the embeddings of the support examples of each class; theta
    descends the cross-entropy of the query examples, whose logits are minus their squared
    distances to these prototypes.

    Source: Snell et al. (2017), "Prototypical networks for few-shot learning", algorithm 1.
    Deviations: several tasks a meta-update; any embedding network.
    """

    def learner(self, spec, embedding):
        from metajax import inner

        return inner.prototypes(spec, embedding)
