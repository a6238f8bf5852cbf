"""Learning to learn by gradient descent by gradient descent."""

from __future__ import annotations

import dataclasses

from metajax.algorithms.optimizers.base import LearnedOptimizer
from metajax.core.options import Count, Positive


@dataclasses.dataclass(frozen=True, kw_only=True)
class LSTMOptimizer(LearnedOptimizer):
    """An LSTM that trains a network, coordinate by coordinate, and is trained by doing so.

    ``metajax.load_run(path).optimizer`` is the trained one, an optax transformation; it is
    ``metajax.inner.lstm_rule(theta)``.

    Source: Andrychowicz et al. (2016), "Learning to learn by gradient descent by gradient
    descent".

    Attributes:
      lstm_size: Number of units of each layer of the LSTM.
      lstm_layers: Number of layers of the LSTM.
      output_scale: Factor of the LSTM's output.
    """

    lstm_size: Count = 20
    lstm_layers: Count = 2
    output_scale: Positive = 0.1

    def initial(self, key):
        from metajax import inner

        return inner.init_lstm_rule(key, hidden_size=self.lstm_size, num_layers=self.lstm_layers)

    def optimizer_of(self, theta):
        from metajax import inner

        return inner.lstm_rule(theta, scale=self.output_scale, second_order=self.second_order)
