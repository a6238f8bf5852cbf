"""Targets of values of one policy from the experience of another.

All take stretches of experience ``[T, ...]``, time first, which may span episodes: ``v_t``
is the value of where each step led before any reset. It alone follows the last step of the
stretch and a step at which a time limit cut the episode; nothing follows a terminal state.
``rho`` is the ratio of the probabilities that the target policy and the one that acted give
to the action of a step. Targets are differentiable in all that is real.
"""

import math

import jax
import jax.numpy as jnp

from metajax.losses.recursion import backward_sums

Number = float | jax.Array


def _cut(truncated: jax.Array) -> jax.Array:
    """Where the stretch or its episode goes no further without having come to its end."""
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
    """Returns in which each reward is weighed by the actions before it alone.

    ``G_t = rho_t (r_t + discount ((1 - lambda) v_t + lambda G_{t+1}))``. Unclipped, with
    lambda 1 and right values ``v_t`` at the ends, its expectation is the value of the state
    under the target policy, given that the policy that acted may take every action that the
    target policy may take.

    Args:
      r_t: ``[T, ...]`` rewards.
      terminated, truncated: ``[T, ...]``, how an episode ended with that step.
      v_t: ``[T, ...]`` state values, as above.
      rho: ``[T, ...]``, at least 0.
      discount: per step.
      lambda_: 0 gives one-step targets.
      clip_rho: largest ratio; below infinity the expectation is another one.

    Returns:
      ``[T, ...]``, targets of the states that the steps began in.

    Source: Precup, Sutton and Singh (2000), "Eligibility traces for off-policy policy
    evaluation", section 3; lambda as in its section 4.
    """
    cut, ratio = _cut(truncated), jnp.minimum(rho, clip_rho)
    known = jnp.where(cut, v_t, (1 - lambda_) * v_t)
    terms = ratio * (r_t + discount * jnp.where(terminated, 0, known))
    return backward_sums(terms, ratio * discount * lambda_ * ~(cut | terminated))


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
    """V-trace targets of state values.

    ``v_s + sum_{t >= s} discount^(t - s) c_s .. c_{t-1} min(clip_rho, rho_t) delta_t`` with
    ``c_i = lambda min(clip_c, rho_i)`` and ``delta_t = r_t + discount v_t - v_tm1_t``. The
    values that they leave as they are are those of the policy proportional to
    ``min(clip_rho mu, pi)``, whatever ``clip_c`` is. Unclipped they are per-decision
    returns with the values as control variates.

    Args:
      v_tm1: ``[T, ...]`` values of the states that the steps began in.
      r_t, terminated, truncated, v_t, rho, discount: see ``per_decision_returns``.
      lambda_: 0 gives one-step targets.
      clip_rho, clip_c: largest ratios; infinity does not clip.

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
    """Retrace targets of the values of the actions that were taken.

    ``G_t = r_t + discount (v_t + c_{t+1} (G_{t+1} - q_tm1_{t+1}))``, with ``c_i = lambda
    min(clip_c, rho_i)`` and without the last term at the ends.

    Args:
      q_tm1: ``[T, ...]`` values of the actions taken.
      v_t: ``[T, ...]``, the mean over the target policy of the action values where each
        step led before any reset.
      r_t, terminated, truncated, rho, discount: see ``per_decision_returns``.
      lambda_: 0 gives one-step targets (expected Sarsa).
      clip_c: largest ratio; 1 is Retrace.

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
    """``r_t + discount targets_{t+1}``: what an action was worth, by targets of states.

    Where the stretch or its episode goes no further it is ``r_t + discount v_t``. Less the
    value of the state it is the advantage of V-trace's policy gradient.

    Args:
      targets: ``[T, ...]``, of the states that the steps began in.
      r_t, terminated, truncated, v_t, discount: see ``per_decision_returns``.

    Source: Espeholt et al. (2018), section 4.2.
    """
    following = jnp.concatenate([targets[1:], jnp.zeros_like(targets[:1])])
    after = jnp.where(terminated, 0, jnp.where(_cut(truncated), v_t, following))
    return r_t + discount * after
