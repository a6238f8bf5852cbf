"""Relation networks."""

from __future__ import annotations

import dataclasses
from typing import Literal

from metajax.algorithms.fewshot.base import MetricBased
from metajax.core.options import Count, check

NUM_POOLED = 2
"""Blocks of the embedding that pool before images are compared as feature maps."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Relation(MetricBased):
    """Relation networks: a learned comparison of each query example with each class.

    One adaptation averages the embeddings of the support examples of each class; theta descends
    the squared error of the scores of all pairs, which should be 1 for the class of the query
    and 0 for the others. Images are best compared as feature maps, by convolutions: an MLP has
    to learn from pairs of embeddings what it is to be alike.

    Source: Sung et al. (2018), "Learning to compare: relation network for few-shot learning",
    section 3. Deviations: several tasks a meta-update; means of classes in place of sums.

    Attributes:
      relation_filters: Number of filters of each block of convolutions that compares feature
        maps; twice 64 in the paper. Then ``conv_filters`` alone embed, the first two of them
        with pooling, and ``hidden_sizes`` and ``embedding_size`` are without use. Empty: an
        MLP compares embeddings, as in the paper's zero-shot model.
      relation_sizes: Units of each hidden layer of the MLP, or of the one behind convolutions;
        8 in the paper.
      relation_loss: "squared-error" of scores between 0 and 1, as in the paper, or the
        "cross-entropy" of the classes, which learns faster.
    """

    relation_filters: tuple[Count, ...] = ()
    relation_sizes: tuple[Count, ...] = (64,)
    relation_loss: Literal["squared-error", "cross-entropy"] = "squared-error"

    def __post_init__(self) -> None:
        super().__post_init__()
        fits = self.conv_filters or not self.relation_filters
        check(fits, "relation_filters", self.relation_filters, "none without conv_filters")

    def embedding(self, spec):
        from metajax import networks

        if not self.relation_filters:
            return super().embedding(spec)
        maps = networks.Convolutions(
            self.conv_filters, self.activation, num_pooled=NUM_POOLED, flat=False
        )
        return networks.without_output(spec, maps)

    def learner(self, spec, embedding):
        from metajax import inner, networks

        compare = networks.Comparison(self.relation_filters, self.relation_sizes, self.activation)
        logits = self.relation_loss == "cross-entropy"
        return inner.relations(spec, embedding, compare, logits=logits)

    def loss(self):
        from metajax import losses

        if self.relation_loss == "cross-entropy":
            return losses.cross_entropy
        return losses.one_hot_error
