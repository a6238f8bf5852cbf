"""Options that methods of learning from demonstrations share."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

from metajax.algorithms.common.layouts import InGradientBlocks
from metajax.algorithms.common.optimizers import MetaOptimized
from metajax.algorithms.common.torsos import WithTorso
from metajax.core.options import Count, Fraction, Positive

if TYPE_CHECKING:
    from collections.abc import Callable

    from metajax.core.algorithm import MetaAlgorithm
    from metajax.core.family import Spec, TaskFamily
    from metajax.core.problem import Problem
    from metajax.core.types import Learner
    from metajax.networks import Policy, Predictor


@dataclasses.dataclass(frozen=True, kw_only=True)
class FromDemonstrations(WithTorso, InGradientBlocks):
    """Options of every algorithm that adapts to demonstrations of the family's oracle.

    Attributes:
      num_streams: Number of demonstrations E of a task, and of episodes that its returns are
        measured in.
      horizon: Length T of an episode in steps. Default: the family's episode length.
      slip: Probability with which a demonstration takes a uniformly random action in place of
        the one that it shows, so that it also shows how to recover.
      initial_std: Standard deviation of continuous actions at initialisation.
      min_std: Lower limit of the standard deviation of continuous actions.
    """

    num_streams: Count = 1
    horizon: Count | None = None
    slip: Fraction = 0.0
    initial_std: Positive = 1.0
    min_std: Positive = 0.01

    def problem(
        self, family: TaskFamily, learner: Learner | Callable[[int], Learner], **options: Any
    ) -> Problem:
        """A learner in its trials; ``options`` are those of ``demonstrated``."""
        from metajax.data.demonstrated import demonstrated

        sizes: Any = {"num_streams": self.num_streams, "horizon": self.horizon}
        return demonstrated(family, learner, slip=self.slip, **sizes, **options)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Imitation(MetaOptimized, FromDemonstrations):
    """Options of every algorithm whose policy reads demonstrations, without gradient steps.

    One adaptation remembers the demonstrations; theta descends minus the log-probability of the
    oracle's actions in query episodes of the same task.

    Attributes:
      embedding_size: Number of outputs F of the network that embeds observations.
      head_sizes: Units of each hidden layer between embedding, demonstrations and action.
      query: Who acts in the query episodes: the "oracle", or the "learner", whose states then
        are those that it meets by itself (DAgger).
    """

    num_tasks: Count = 32
    embedding_size: Count = 32
    head_sizes: tuple[Count, ...] = (64,)
    query: Literal["oracle", "learner"] = "learner"

    def learner(
        self, spec: Spec, embedding: Predictor, head: Callable[[int], Policy]
    ) -> Learner | Callable[[int], Learner]:
        """The learner, as ``demonstrated`` takes it; each algorithm has its own.

        Args:
          spec: Description of the family.
          embedding: The network from observations to ``embedding_size`` numbers.
          head: ``(number of inputs) -> Policy``.
        """
        raise NotImplementedError

    def build(self, family: TaskFamily) -> MetaAlgorithm:
        """The algorithm on a family with an oracle.

        Raises OptionError for another family, or sizes that do not fit it or the devices.
        """
        from metajax import losses, networks, outer
        from metajax.composition import compose

        spec = family.spec

        def head(num_inputs):
            return networks.policy(
                dataclasses.replace(spec, observation_shape=(num_inputs,)),
                networks.MLP(self.head_sizes, self.activation),
                initial_std=self.initial_std,
                min_std=self.min_std,
            )

        embedding = self.network_of(spec.observation_shape, self.torso())
        problem = self.problem(family, self.learner(spec, embedding, head), query=self.query)
        objective = outer.post_adaptation(problem, losses.cloning_loss)
        rule = outer.once(outer.backprop(objective, self.layout()), self.meta_optimizer())
        return compose(problem, rule, microbatch=self.microbatch)

    def network_of(self, input_shape: tuple[int, ...], torso: Any) -> Predictor:
        """A network of ``embedding_size`` outputs."""
        from metajax import networks
        from metajax.core.family import DataSpec

        return networks.predictor(DataSpec("inputs", input_shape, self.embedding_size), torso)
