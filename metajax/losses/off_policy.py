"""Value targets: lambda returns and their off-policy forms, among them V-trace and Retrace.

Arguments and results are sequences ``[T, ...]``, time first, which may span episodes: rewards
``r_t``, the ends of episodes, and ``v_t``, the value of the state after each step, before any
reset. Targets bootstrap from ``v_t`` alone at the last step of the sequence and where an episode
was truncated, and from nothing where it terminated. ``rho`` is the importance ratio of each action,
at least 0: its probability under the target policy over that under the behaviour policy. The
discount is that of a step; ``lambda_`` is the decay of the traces, and 0 gives one-step targets.
Targets are differentiable in all real arguments.
"""

import math

import jax
import jax.numpy as jnp

from metajax.losses.recursion import backward_sums

Number = float | jax.Array


def _cut(truncated: jax.Array) -> jax.Array:
    """Steps to bootstrap after: truncations and the last step of the sequence."""
    return jnp.asarray(truncated).at[-1].set(True)


def per_decision_returns(
    r_t: jax.Array,
    terminated: jax.Array,
    truncated: jax.Array,
    v_t: jax.Array,
    rho: jax.Array,
    discount: Number,
    lambda_: Number = 1.0,
    clip_rho: Number = math.inf,
) -> jax.Array:
    """Per-decision importance-weighted returns: each reward weighted by preceding actions only.

    ``G_t = rho_t (r_t + discount ((1 - lambda) v_t + lambda G_{t+1}))``

    Unclipped, with lambda 1 and exact ``v_t`` at the ends, the expectation is the state value
    under the target policy, provided the behaviour policy may take every action that the
    target policy may take.

    Args:
      clip_rho: Upper bound of the ratios; a finite bound biases the targets.

    Returns:
      targets for the states before each step.

    Source: Precup, Sutton and Singh (2000), "Eligibility traces for off-policy policy
    evaluation", section 3; lambda as in its section 4.
    """
    cut, ratio = _cut(truncated), jnp.minimum(rho, clip_rho)
    known = jnp.where(cut, v_t, (1 - lambda_) * v_t)
    terms = ratio * (r_t + discount * jnp.where(terminated, 0, known))
    return backward_sums(terms, ratio * discount * lambda_ * ~(cut | terminated))


def lambda_targets(
    r_t: jax.Array,
    terminated: jax.Array,
    truncated: jax.Array,
    v_t: jax.Array,
    discount: Number,
    lambda_: Number = 1.0,
) -> jax.Array:
    """Lambda returns: ``per_decision_returns`` on policy, with ratios of 1.

    With lambda 1 these are the longest available n-step returns.

    Source: Sutton and Barto (2018), section 12.1. Deviation: traces are not cut at
    exploratory actions (Watkins), as usual in deep Q-learning.
    """
    on_policy = jnp.ones_like(r_t)
    return per_decision_returns(r_t, terminated, truncated, v_t, on_policy, discount, lambda_)


def vtrace_targets(
    v_tm1: jax.Array,
    r_t: jax.Array,
    terminated: jax.Array,
    truncated: jax.Array,
    v_t: jax.Array,
    rho: jax.Array,
    discount: Number,
    lambda_: Number = 1.0,
    clip_rho: Number = 1.0,
    clip_c: Number = 1.0,
) -> jax.Array:
    """V-trace targets for state values.

    ``v_s + sum_{t >= s} discount^(t - s) c_s .. c_{t-1} min(clip_rho, rho_t) delta_t`` with
    ``c_i = lambda min(clip_c, rho_i)`` and ``delta_t = r_t + discount v_t - v_tm1_t``.

    The fixed point is the value of the policy proportional to ``min(clip_rho mu, pi)``, for any
    ``clip_c``. Unclipped, the targets are per-decision returns with the values as control variates.

    Args:
      v_tm1: Values of the states before each step, for which the targets are.
      clip_rho, clip_c: Upper bounds of the ratios; infinity for none.

    Source: Espeholt et al. (2018), "IMPALA", equation 1 and remark 2.
    """
    error = r_t + discount * jnp.where(terminated, 0, v_t) - v_tm1
    traces = lambda_ * jnp.minimum(rho, clip_c) * ~(_cut(truncated) | terminated)
    return v_tm1 + backward_sums(jnp.minimum(rho, clip_rho) * error, discount * traces)


def retrace_targets(
    q_tm1: jax.Array,
    r_t: jax.Array,
    terminated: jax.Array,
    truncated: jax.Array,
    v_t: jax.Array,
    rho: jax.Array,
    discount: Number,
    lambda_: Number = 1.0,
    clip_c: Number = 1.0,
) -> jax.Array:
    """Retrace targets for the values of the actions taken.

    ``G_t = r_t + discount (v_t + c_{t+1} (G_{t+1} - q_tm1_{t+1}))`` with ``c_i = lambda
    min(clip_c, rho_i)``, without the last term at the ends.

    Args:
      q_tm1: Values of the actions taken, for which the targets are.
      v_t: Mean action values under the target policy in the states after each step.
      lambda_: Decay of the traces; 0 gives expected Sarsa.
      clip_c: Upper bound of the ratios; 1 for Retrace.

    Source: Munos et al. (2016), "Safe and efficient off-policy reinforcement learning",
    equations 3 and 4.
    """
    error = r_t + discount * jnp.where(terminated, 0, v_t) - q_tm1
    traces = lambda_ * jnp.minimum(rho, clip_c)
    after = jnp.concatenate([traces[1:], jnp.zeros_like(traces[:1])])
    return q_tm1 + backward_sums(error, discount * after * ~(truncated | terminated))


def next_step_returns(
    targets: jax.Array,
    r_t: jax.Array,
    terminated: jax.Array,
    truncated: jax.Array,
    v_t: jax.Array,
    discount: Number,
) -> jax.Array:
    """One-step returns of the actions, bootstrapped from targets of the next states.

    ``r_t + discount targets_{t+1}``, or ``r_t + discount v_t`` at truncations and at the last
    step of the sequence; ``targets`` are those of the states before each step. The difference to
    the value of the state is the advantage in the policy gradient of V-trace.

    Source: Espeholt et al. (2018), section 4.2.
    """
    following = jnp.concatenate([targets[1:], jnp.zeros_like(targets[:1])])
    after = jnp.where(terminated, 0, jnp.where(_cut(truncated), v_t, following))
    return r_t + discount * after
