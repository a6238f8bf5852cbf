"""Relation networks."""

from __future__ import annotations

import dataclasses

from metajax.algorithms.fewshot.base import MetricBased
from metajax.core.options import Count


@dataclasses.dataclass(frozen=True, kw_only=True)
class Relation(MetricBased):
    """Relation networks: a learned comparison of each query example with each class.

    One adaptation averages the embeddings of the support examples of each class; theta descends
    the squared error of the scores of all pairs, which should be 1 for the class of the query
    and 0 for the others.

    Source: Sung et al. (2018), "Learning to compare: relation network for few-shot learning",
    section 3. Deviations: several tasks a meta-update; any embedding network; means of
    classes in place of sums; an MLP compares embeddings, as in the paper's zero-shot model,
    where that of images convolves feature maps.

    Attributes:
      relation_sizes: Units of each hidden layer of the MLP that compares.
    """

    relation_sizes: tuple[Count, ...] = (64,)

    def learner(self, spec, embedding):
        from metajax import inner, networks
        from metajax.core.family import DataSpec

        pairs = DataSpec("pairs of embeddings", (2 * self.embedding_size,), 1)
        compare = networks.MLP(self.relation_sizes, self.activation)
        return inner.relations(spec, embedding, networks.predictor(pairs, compare))

    def loss(self):
        from metajax import losses

        return losses.one_hot_error
