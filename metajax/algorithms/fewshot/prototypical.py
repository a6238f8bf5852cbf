"""Prototypical networks."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from metajax.algorithms.common.layouts import InGradientBlocks
from metajax.algorithms.common.optimizers import MetaOptimized
from metajax.algorithms.common.torsos import WithTorso
from metajax.core.options import Count, OptionError, check

if TYPE_CHECKING:
    from metajax.core.algorithm import MetaAlgorithm
    from metajax.core.family import Family


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prototypical(MetaOptimized, WithTorso, InGradientBlocks):
    """A learned space in which each class lies around the mean of its few examples.

    One adaptation averages the embeddings of the support examples of each class; theta
    descends the cross-entropy of the query examples, whose logits are minus their squared
    distances to these prototypes.

    Source: Snell et al. (2017), "Prototypical networks for few-shot learning", algorithm 1.
    Deviations: several tasks a meta-update; any embedding network.

    Attributes:
      num_streams: Number of support examples of a task: ways times shots.
      num_query: Number of query examples of a task. Default: ``num_streams``.
      embedding_size: Number of outputs F of the embedding network.
    """

    labelled: ClassVar[bool] = True

    num_tasks: Count = 32
    num_streams: Count = 25
    num_query: Count | None = None
    embedding_size: Count = 64

    def build(self, family: Family) -> MetaAlgorithm:
        """The algorithm on a family of labelled examples with classes.

        Raises OptionError for another family, or sizes that do not fit it or the devices.
        """
        from metajax import inner, losses, networks, outer
        from metajax.composition import compose
        from metajax.core.family import DataFamily
        from metajax.data.few_shot import few_shot

        if not isinstance(family, DataFamily) or not family.spec.classes:
            problem = f"{family.spec.name} has no classes; allowed: a family of labelled examples"
            raise OptionError("family", f'{problem} with classes, such as "gaussian-blobs"')
        allowed = f"at least {family.spec.num_outputs}, one of each class"
        check(self.num_streams >= family.spec.num_outputs, "num_streams", self.num_streams, allowed)
        embedding = networks.predictor(family.spec, self.torso(), num_outputs=self.embedding_size)
        problem = few_shot(
            family,
            inner.prototypes(family.spec, embedding),
            num_adaptations=1,
            num_streams=self.num_streams,
            num_query=self.num_query or self.num_streams,
        )
        objective = outer.post_adaptation(problem, losses.cross_entropy)
        rule = outer.once(outer.backprop(objective, self.layout()), self.meta_optimizer())
        return compose(problem, rule, microbatch=self.microbatch)
