"""Learning to learn by gradient descent by gradient descent."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from metajax.algorithms.common.layouts import InGradientBlocks
from metajax.algorithms.common.optimizers import MetaOptimized
from metajax.algorithms.common.torsos import WithTorso
from metajax.core.options import Count, OptionError, Positive, check

if TYPE_CHECKING:
    from metajax.core.algorithm import MetaAlgorithm
    from metajax.core.family import DataFamily, Family
    from metajax.core.types import Learner


@dataclasses.dataclass(frozen=True, kw_only=True)
class LSTMOptimizer(MetaOptimized, WithTorso, InGradientBlocks):
    """An LSTM that trains a network, coordinate by coordinate, and is trained by doing so.

    Theta are the weights of the LSTM. The optimisee, a network with random initial weights,
    and the memory of the LSTM are phi. A meta-iteration takes ``window`` steps further in
    each of ``num_tasks`` optimisations that go on, and descends the mean of their losses
    through those steps. ``metajax.inner.lstm_rule(theta)`` is the trained optimiser, an optax
    transformation.

    Source: Andrychowicz et al. (2016), "Learning to learn by gradient descent by gradient
    descent".

    Attributes:
      num_tasks: Number of optimisations N side by side.
      num_streams: Number of labelled examples of a task, all of which each gradient sees.
      inner_steps: Length K of an optimisation in steps.
      window: Number of steps that a meta-gradient goes through.
      second_order: Whether a meta-gradient also goes through the gradients that the LSTM reads.
      lstm_size: Number of units of each layer of the LSTM.
      lstm_layers: Number of layers of the LSTM.
      output_scale: Factor of the LSTM's output.
      hidden_sizes: Units of each hidden layer of the optimisee. Default: a linear model.
      bias: Whether the optimisee's output has a bias.
    """

    labelled: ClassVar[bool] = True

    num_tasks: Count = 128
    num_streams: Count = 10
    inner_steps: Count = 100
    window: Count = 20
    second_order: bool = False
    lstm_size: Count = 20
    lstm_layers: Count = 2
    output_scale: Positive = 0.1
    hidden_sizes: tuple[Count, ...] = ()
    bias: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        allowed = f"fewer than inner_steps ({self.inner_steps})"
        check(self.window < self.inner_steps, "window", self.window, allowed)

    def build(self, family: Family) -> MetaAlgorithm:
        """The algorithm on a family of labelled examples.

        Raises OptionError for another family, or sizes that do not fit the devices.
        """
        from metajax import losses, outer
        from metajax.composition import compose
        from metajax.core.family import DataFamily
        from metajax.data.few_shot import few_shot

        if not isinstance(family, DataFamily):
            problem = f"{family.spec.name} is an environment; allowed: a family of labelled"
            raise OptionError("family", f'{problem} examples, such as "quadratics"')
        problem = few_shot(
            family,
            self.learner(family),
            num_adaptations=self.inner_steps,
            num_streams=self.num_streams,
            num_query=self.num_streams,
        )
        layout = self.layout()
        if self.gradient_microbatch is None:
            layout = dataclasses.replace(layout, gradient_microbatch=layout.microbatch)
        estimator = outer.truncated(
            problem,
            layout,
            losses.prediction_loss(family.spec),
            window=self.window,
            every_step=True,
        )
        rule = outer.once(estimator, self.meta_optimizer())
        return compose(problem, rule, microbatch=self.microbatch)

    def learner(self, family: DataFamily) -> Learner:
        """The optimisee, adapted by the LSTM that theta are the weights of."""
        from metajax import inner, losses, networks

        network = networks.predictor(family.spec, self.torso(), bias=self.bias)

        def init(key):
            sizes = {"hidden_size": self.lstm_size, "num_layers": self.lstm_layers}
            return inner.init_lstm_rule(key, **sizes)

        def rule(theta):
            return inner.lstm_rule(theta, scale=self.output_scale, second_order=self.second_order)

        return inner.descent(
            init,
            lambda weights, examples: network.apply(weights, examples.inputs),
            losses.term(losses.prediction_loss(family.spec)),
            rule,
            start=lambda key, theta: network.init(key),
            singly=False,
        )
