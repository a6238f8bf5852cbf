"""Pieces of inner rules that can themselves be differentiated."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import optax
from jax.core import Tracer

from metajax.core.family import Tree
from metajax.core.options import OptionError
from metajax.inner.descent import Rule, made


def step_sizes(rates: float | jax.Array | Sequence[float]) -> optax.Schedule:
    """A rate for each gradient step; the last one holds from then on.

    ``(0.1, 0.05)`` takes a first step of 0.1 and halves it afterwards, as Finn et
    al. (2017) do when they adapt for more steps than they trained with.
    """
    values = jnp.atleast_1d(jnp.asarray(rates))
    return lambda count: values[jnp.minimum(count, len(values) - 1)]


def clip_by_global_norm(max_norm: float | jax.Array) -> optax.GradientTransformation:
    """Scales updates down so that their global norm is at most ``max_norm``.

    Equal to ``optax.clip_by_global_norm``, but written on the squared norm. The
    norm itself has no derivative where all gradients are zero (a sparse-reward
    task that saw no reward), and optax's form then gives NaN meta-gradients.
    """

    def update(updates, state, params=None):
        del params
        squared = sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(updates))
        scale = jax.lax.rsqrt(jnp.maximum(squared / max_norm**2, 1))
        return jax.tree.map(lambda leaf: leaf * scale, updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def first_order_rule(rule: Rule) -> Rule:
    """The rule with gradients for constants, of which a meta-gradient has no second derivatives.

    Parameters of the rule itself, such as learned rates, keep their meta-gradient.
    """

    def constant(theta):
        given = made(rule, theta)

        def update(updates, state, params=None, **extra):
            return given.update(jax.lax.stop_gradient(updates), state, params, **extra)

        return optax.GradientTransformationExtraArgs(given.init, update)

    return constant


def proximal(rule: Rule, coefficient: float | jax.Array) -> Rule:
    """The rule for a loss with the proximal term ``coefficient / 2 * |weights - theta|^2``.

    For learners whose theta is the initial weights.
    """

    def with_pull(theta):
        def pull(gradients, weights):
            def one(gradient, weight, start):
                return gradient + coefficient * (weight - start)

            return jax.tree.map(one, gradients, weights, theta)

        return optax.chain(optax.stateless(pull), made(rule, theta))

    return with_pull


def check_differentiable(rule: Rule, theta: Tree, fast: Tree) -> None:
    """Refuses an inner rule whose update has no derivative where gradients are zero.

    A meta-gradient through such a rule is NaN as soon as one gradient is zero, like that of a
    rectifier that is off.

    Args:
      rule: The inner rule to differentiate.
      theta: Meta-parameters of the right shapes; arrays or their ``jax.eval_shape``.
      fast: The adapted part, likewise.

    Raises:
      OptionError: for a rule without a derivative there. Traced rates pass unchecked.
    """

    def zeros(tree):
        return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), tree)

    theta, fast = zeros(theta), zeros(fast)
    transformation = made(rule, theta)

    def moved(gradients):
        steps, _ = transformation.update(gradients, transformation.init(fast), fast)
        return sum(jnp.sum(step) for step in jax.tree.leaves(steps))

    slopes = jax.tree.leaves(jax.jit(jax.grad(moved))(fast))
    finite = jnp.array([jnp.isfinite(slope).all() for slope in slopes]).all()
    if not isinstance(finite, Tracer) and not finite:
        raise OptionError(
            "inner",
            "its update has no derivative where a gradient is zero, so that the meta-gradient "
            "would be NaN; allowed: a rule that has one, as optax.sgd(0.1), optax.adam(0.01, "
            "eps_root=1e-8) and metajax.inner.clip_by_global_norm have, or one that is not "
            'differentiated, under "fomaml" or "reptile"',
        )
