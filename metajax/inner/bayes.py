"""The best predictor of a family that can tell it."""

import jax
import jax.numpy as jnp

from metajax.core.family import DataFamily, Examples
from metajax.core.options import OptionError
from metajax.core.types import Learner


def bayes(family: DataFamily, num_support: int) -> Learner:
    """A learner without theta that remembers its support set and predicts with ``family.bayes``.

    No learner that sees the same support sets expects a better score. Before adaptation the
    remembered inputs and targets are 0.

    Args:
      family: A family with ``bayes``.
      num_support: Number of support examples, which the fast state holds.

    Raises:
      OptionError: for a family without ``bayes``.
    """
    predictor = family.bayes
    if predictor is None:
        raise OptionError(
            "family",
            f"{family.spec.name} does not say its best predictor; allowed: a DataFamily with bayes",
        )

    def begin(key, theta):
        del theta
        drawn = jax.eval_shape(lambda: family.draw(key, family.sample(key), num_support))
        return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), drawn)

    return Learner(
        init=lambda key: (),
        begin=begin,
        adapt=lambda key, theta, phi, data: Examples(data.inputs, data.targets),
        predict=lambda theta, phi, data: predictor(phi, data.inputs),
        singly=False,
    )
