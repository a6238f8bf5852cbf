"""The base of prototypical, matching and relation networks: comparison in a learned space."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from metajax.algorithms.common.layouts import InGradientBlocks
from metajax.algorithms.common.optimizers import MetaOptimized
from metajax.algorithms.common.torsos import WithTorso
from metajax.core.options import Count, OptionError, check

if TYPE_CHECKING:
    from collections.abc import Callable

    from metajax.core.algorithm import MetaAlgorithm
    from metajax.core.family import DataSpec, Family
    from metajax.core.types import Learner, Loss
    from metajax.networks import Predictor


@dataclasses.dataclass(frozen=True, kw_only=True)
class MetricBased(MetaOptimized, WithTorso, InGradientBlocks):
    """Options of every algorithm that compares query examples with support examples.

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

    def embedding(self, spec: DataSpec) -> Predictor:
        """The network that embeds examples."""
        from metajax import networks

        return networks.predictor(spec, self.torso(), num_outputs=self.embedding_size)

    def learner(self, spec: DataSpec, embedding: Predictor) -> Learner | Callable[[int], Learner]:
        """The learner, as ``metajax.few_shot`` takes it; each algorithm has its own."""
        raise NotImplementedError

    def loss(self) -> Loss:
        """The loss of its predictions."""
        from metajax import losses

        return losses.cross_entropy

    def build(self, family: Family) -> MetaAlgorithm:
        """The algorithm on a family of labelled examples with classes.

        Raises OptionError for another family, or sizes that do not fit it or the devices.
        """
        from metajax import outer
        from metajax.composition import compose
        from metajax.core.family import DataFamily
        from metajax.data.few_shot import few_shot

        if not isinstance(family, DataFamily) or not family.spec.classes:
            problem = f"{family.spec.name} has no classes; allowed: a family of labelled examples"
            raise OptionError("family", f'{problem} with classes, such as "gaussian-blobs"')
        allowed = f"at least {family.spec.num_outputs}, one of each class"
        check(self.num_streams >= family.spec.num_outputs, "num_streams", self.num_streams, allowed)
        problem = few_shot(
            family,
            self.learner(family.spec, self.embedding(family.spec)),
            num_adaptations=1,
            num_streams=self.num_streams,
            num_query=self.num_query or self.num_streams,
        )
        objective = outer.post_adaptation(problem, self.loss())
        rule = outer.once(outer.backprop(objective, self.layout()), self.meta_optimizer())
        return compose(problem, rule, microbatch=self.microbatch)
