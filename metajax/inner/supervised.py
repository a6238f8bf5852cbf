"""Adaptation by gradient steps on labelled examples."""

from collections.abc import Callable

import optax

from metajax import losses
from metajax.core.family import DataSpec, Key, Tree
from metajax.core.types import Learner
from metajax.inner.descent import Rule, as_rule, descent
from metajax.inner.partition import EVERYTHING, Partition
from metajax.networks import Predictor


def supervised(
    spec: DataSpec,
    network: Predictor,
    inner: optax.GradientTransformation | Rule,
    *,
    init: Callable[[Key], Tree] | None = None,
    partition: Partition = EVERYTHING,
    start: Callable[[Key, Tree], Tree] | None = None,
    updates: int = 1,
) -> Learner:
    """A learner that descends the mean squared error, or the cross-entropy of classes.

    Args:
      spec: Description of the family.
      network: Predictions ``[n, outputs]`` from inputs ``[n, ...]``.
      inner: An optax transformation, or a function of theta that gives one.
      init: ``(key) -> theta``. Default: the network's initial weights.
      partition: The part of theta that adapts. Default: all of it.
      start: ``(key, theta) -> fast`` at the start of a trial. Default: ``partition.split``.
      updates: Gradient steps on each chunk.

    Raises:
      OptionError: for an ``inner`` of neither kind.
    """
    return descent(
        network.init if init is None else init,
        lambda weights, examples: network.apply(weights, examples.inputs),
        losses.term(losses.prediction_loss(spec)),
        as_rule(inner),
        partition=partition,
        start=start,
        updates=updates,
    )
