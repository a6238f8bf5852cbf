"""Finite-horizon planning in finite Markov decision processes.

Backward induction with ``V_H = 0`` and ``V_h(s) = max_a Q_h(s, a)``. The horizon is the time
limit of the episode, where the measured return ends too.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from metajax.tasks.tabular.tabular_mdp import TabularTask, one_step_values

Backup = Callable[[jax.Array], jax.Array]


def backward_induction(backup: Backup, num_states: int, horizon: int) -> jax.Array:
    """Optimal action values at all times, ``[H, S, A]``.

    Args:
      backup: ``(next values [S]) -> action values [S, A]``.
      num_states: Number of states, S.
      horizon: Number of steps, H.
    """

    def step(value, _):
        action_value = backup(value)
        return jnp.max(action_value, axis=-1), action_value

    return jax.lax.scan(step, jnp.zeros(num_states), length=horizon, reverse=True)[1]


def expected(model: TabularTask) -> Backup:
    """The expected backup ``Q(s, a) = r(s, a) + sum_s' P(s' | s, a) V(s')``."""
    return lambda value: one_step_values(model, value)


def most_hopeful(models: TabularTask) -> Backup:
    """The elementwise maximum of the expected backups of n models, leaves ``[n, ...]``."""
    return lambda value: jnp.max(jax.vmap(lambda model: expected(model)(value))(models), axis=0)


def optimistic(
    model: TabularTask, reward_radius: jax.Array, transition_radius: jax.Array
) -> Backup:
    """The expected backup of the most favourable model within a radius of ``model``.

    Rewards may be higher by their radius. Transition probabilities may differ by their
    radius in L1: half of it is moved from the worst next states to the best one.

    Source: extended value iteration, Jaksch et al. (2010), "Near-optimal regret bounds for
    reinforcement learning", figure 2.

    Args:
      model: Centre of the set of models.
      reward_radius, transition_radius: ``[S, A]``.
    """

    def backup(value):
        order = jnp.argsort(-value)
        probability = model.transition[..., order]
        best = jnp.minimum(1, probability[..., 0] + transition_radius / 2)
        probability = probability.at[..., 0].set(best)
        # Keep probability from the best state on, until the sum reaches 1.
        filled = jnp.minimum(jnp.cumsum(probability, axis=-1), 1)
        probability = jnp.diff(filled, axis=-1, prepend=0)
        return model.reward + reward_radius + jnp.sum(probability * value[order], axis=-1)

    return backup
