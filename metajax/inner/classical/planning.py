"""Planning in finite Markov decision processes, over a finite horizon.

Backward induction, with ``V_H = 0`` and ``V_h(s) = max_a Q_h(s, a)``. A time limit ends
the planning, as it ends the return that is measured.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from metajax.tasks.tabular.tabular_mdp import TabularTask, one_step_values

Backup = Callable[[jax.Array], jax.Array]


def backward_induction(backup: Backup, num_states: int, horizon: int) -> jax.Array:
    """Action values of all times, ``[H, S, A]``.

    Args:
      backup: ``(next values [S]) -> [S, A]``.
      num_states: S.
      horizon: H, steps.
    """

    def step(value, _):
        action_value = backup(value)
        return jnp.max(action_value, axis=-1), action_value

    return jax.lax.scan(step, jnp.zeros(num_states), length=horizon, reverse=True)[1]


def expected(model: TabularTask) -> Backup:
    """``Q(s, a) = r(s, a) + sum_s' P(s' | s, a) V(s')``."""
    return lambda value: one_step_values(model, value)


def most_hopeful(models: TabularTask) -> Backup:
    """The highest of the backups of several models, leaves ``[n, ...]``."""
    return lambda value: jnp.max(jax.vmap(lambda model: expected(model)(value))(models), axis=0)


def optimistic(
    model: TabularTask, reward_radius: jax.Array, transition_radius: jax.Array
) -> Backup:
    """The backup of the best model near ``model``.

    Rewards may be higher by their radius, and transition probabilities may differ by
    theirs in L1: half of it is added to the best next state and taken from the worst ones.

    Source: extended value iteration, Jaksch et al. (2010), "Near-optimal regret bounds for
    reinforcement learning", figure 2.

    Args:
      model: the centre.
      reward_radius, transition_radius: ``[S, A]``.
    """

    def backup(value):
        order = jnp.argsort(-value)
        probability = model.transition[..., order]
        best = jnp.minimum(1, probability[..., 0] + transition_radius / 2)
        probability = probability.at[..., 0].set(best)
        # Fill up from the best state on, until the probabilities sum to 1.
        filled = jnp.minimum(jnp.cumsum(probability, axis=-1), 1)
        probability = jnp.diff(filled, axis=-1, prepend=0)
        return model.reward + reward_radius + jnp.sum(probability * value[order], axis=-1)

    return backup
