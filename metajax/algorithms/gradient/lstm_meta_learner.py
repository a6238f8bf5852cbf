"""The LSTM meta-learner: initial weights and the gates that update them, learned together."""

from __future__ import annotations

import dataclasses
from typing import Annotated, ClassVar

from metajax.algorithms.gradient.maml import MAML
from metajax.core.options import Above, Below, Count


@dataclasses.dataclass(frozen=True, kw_only=True)
class LSTMMetaLearner(MAML):
    """An LSTM whose cell state are the weights (Ravi and Larochelle 2017).

    Theta has the entries "weights", the initial cell state, and "rule", the parameters of
    ``metajax.inner.meta_lstm_rule``, which are shared by all weights. An adaptation is one step
    of the LSTM.

    Source: Ravi and Larochelle (2017), "Optimization as a model for few-shot learning",
    algorithm 1. Deviations: each step sees the whole support set, and there is no batch
    normalisation. The paper is about classification; in an environment the loss that the LSTM
    reads is that of the policy gradient.

    Attributes:
      inner_steps: Number of adaptations K in a trial.
      inner_lr: The input gate at the start: the step size that training begins with.
      lstm_size: Number of units of the LSTM's first layer.
      second_order: Whether the meta-gradient also goes through the gradients and losses that
        the LSTM reads.
    """

    inner_steps: Count = 5
    inner_lr: Annotated[float, Above(0), Below(1)] = 0.01
    lstm_size: Count = 20
    second_order: bool = False
    inner: ClassVar[None] = None  # pyright: ignore[reportIncompatibleVariableOverride]

    def outer_products(self, each, updates):
        return None  # others than those of MAML, which are counted

    def inner_rule(self):
        from metajax import inner

        def rule(theta):
            return inner.meta_lstm_rule(theta["rule"], second_order=self.second_order)

        return self.clipped(rule)

    def optimizer_of(self, theta):
        """The optimiser that theta holds beside initial weights; its update takes ``value``."""
        return self.inner_rule()(theta)

    def learner(self, family, **changes):
        import jax

        from metajax import inner

        model = self.model(family)

        def init(key):
            key_weights, key_rule = jax.random.split(key)
            rule = inner.init_meta_lstm_rule(
                key_rule, hidden_size=self.lstm_size, rate=self.inner_lr
            )
            return {"weights": model.init(key_weights), "rule": rule}

        return super().learner(family, init=init, partition=inner.part("weights"), **changes)
