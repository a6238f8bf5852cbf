"""Density ratios by classification: how likely old experience is in a new task."""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Propensity(NamedTuple):
    """The worth of old experience in a new task.

    Attributes:
      ratio: ``[M]``, estimated density in the new task over that in the old ones; 0 for rows
        that do not count.
      effective: Scalar in [0, 1], effective sample size over M; 1 where no row counts.
    """

    ratio: jax.Array
    effective: jax.Array


def propensity(
    new: jax.Array,
    old: jax.Array,
    new_weight: jax.Array,
    old_weight: jax.Array,
    *,
    ridge: float | jax.Array = 1e-2,
    num_steps: int = 50,
) -> Propensity:
    """Estimates ``beta(x) = p_new(x) / p_old(x)`` of the old rows by logistic regression.

    ``w`` minimises ``(mean_new log(1 + exp(w x)) + mean_old log(1 + exp(-w x)) + ridge |w|^2) / 2``
    and ``beta(x) = exp(-w x)``. The two sides count the same, however many rows each has, so that
    the odds are the ratio of the densities itself. Features are brought to mean 0 and standard
    deviation 1 over both sides, and a constant is added, which the ridge leaves out.

    Args:
      new: ``[B, H]``, features of the new task's experience.
      old: ``[M, H]``, features of the old experience.
      new_weight, old_weight: ``[B]`` and ``[M]``, 1 for rows that count and 0 for the others.
      ridge: Penalty that keeps ``w`` finite where a plane separates the two sides.
      num_steps: Number of steps of the fit.

    Source: Fakoor et al. (2020), "Meta-Q-Learning", sections 2 and 3.3, with its
    ``z = 1`` for old rows. Standardised features and the balance are ours.
    """
    both = jnp.concatenate([new, old])
    weight = balanced(new_weight, old_weight)
    # What accelerators multiply by default is too coarse for a regression.
    with jax.default_matmul_precision("float32"):
        x = jnp.concatenate([standardized(both, weight), jnp.ones((len(both), 1))], axis=-1)
        is_old = jnp.arange(len(both)) >= len(new)
        penalty = ridge * jnp.ones(x.shape[-1]).at[-1].set(0)
        w = logistic_fit(x, is_old, weight, penalty, num_steps)
        exponent = jnp.clip(-(x @ w)[len(new) :], -30, 30)
    ratio = old_weight * jnp.exp(exponent)
    return Propensity(ratio, effective_sample_size(ratio, old_weight))


def balanced(new_weight: jax.Array, old_weight: jax.Array) -> jax.Array:
    """``[B + M]``, weights of all rows, half of which each side has."""
    sides = jnp.stack(
        [
            jnp.concatenate([new_weight, jnp.zeros_like(old_weight)]),
            jnp.concatenate([jnp.zeros_like(new_weight), old_weight]),
        ]
    )
    return jnp.sum(sides / jnp.maximum(jnp.sum(sides, axis=1, keepdims=True), 1), axis=0) / 2


def standardized(features: jax.Array, weight: jax.Array) -> jax.Array:
    """Features ``[n, H]`` with mean 0 and standard deviation 1 under weights ``[n]``."""
    mean = weight @ features
    deviation = jnp.sqrt(weight @ jnp.square(features - mean))
    return (features - mean) / jnp.maximum(deviation, 1e-6)


def logistic_fit(
    x: jax.Array, label: jax.Array, weight: jax.Array, penalty: jax.Array, num_steps: int
) -> jax.Array:
    """``[H]``, minimum of ``sum weight (log(1 + exp(x w)) - label x w) + penalty w^2 / 2``.

    Each step minimises a quadratic that lies above the loss, with a quarter of the second
    moments in the place of the Hessian: the loss never rises, whatever the data.

    Args:
      x, weight, penalty: ``[n, H]``, ``[n]`` and ``[H]``.
      label: ``[n]``, 0 or 1.
      num_steps: Number of steps from 0.

    Source: Böhning and Lindsay (1988), "Monotonicity of quadratic-approximation algorithms".
    """
    bound = (x.T * weight) @ x / 4 + jnp.diag(penalty + 1e-6)
    factor = jax.scipy.linalg.cho_factor(bound)

    def step(w, _):
        error = jax.nn.sigmoid(x @ w) - label
        gradient = x.T @ (weight * error) + penalty * w
        return w - jax.scipy.linalg.cho_solve(factor, gradient), None

    return jax.lax.scan(step, jnp.zeros(x.shape[-1]), None, length=num_steps)[0]


def effective_sample_size(ratio: jax.Array, counts: jax.Array) -> jax.Array:
    """``(sum ratio)^2 / (m sum ratio^2)`` over the m rows that count; 1 where none does.

    Source: Kong (1992), as in Fakoor et al. (2020), section 2.
    """
    squares = jnp.sum(counts) * jnp.sum(jnp.square(ratio))
    share = jnp.square(jnp.sum(ratio)) / jnp.where(squares > 0, squares, 1)
    return jnp.where(squares > 0, share, 1)
