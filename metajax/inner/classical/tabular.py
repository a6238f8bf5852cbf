"""Finite Markov decision processes: what a trial shows of one, and beliefs about it.

Shapes: S states, A actions. A bandit is the case of one state and episodes of one step.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from metajax.core.family import Key
from metajax.inner.classical.posterior_samples import dirichlet, gamma_noise
from metajax.tasks.tabular.tabular_mdp import TabularTask

Number = float | jax.Array


class Counts(NamedTuple):
    """What a trial has shown, all float32.

    Attributes:
      visits: ``[S, A]``, rewards seen.
      reward_sum: ``[S, A]``.
      transitions: ``[S, A, S]``, next states seen. The one after the last step of an
        episode never is, as the next observation starts another episode.
    """

    visits: jax.Array
    reward_sum: jax.Array
    transitions: jax.Array


class Prior(NamedTuple):
    """Independent beliefs about every state and action.

    The expected reward is Gaussian, and so is the reward given that; the probabilities
    of the next states are Dirichlet with equal concentrations.

    Attributes:
      mean: of the expected reward.
      precision: of the expected reward, one over its variance.
      noise_precision: of a reward given its expectation.
      dirichlet: concentration of each next state.
    """

    mean: Number = 0.0
    precision: Number = 1.0
    noise_precision: Number = 1.0
    dirichlet: Number = 1.0


def no_counts(num_states: int, num_actions: int) -> Counts:
    """The counts at the start of a trial."""
    shape = (num_states, num_actions)
    return Counts(jnp.zeros(shape), jnp.zeros(shape), jnp.zeros((*shape, num_states)))


def count(
    counts: Counts,
    state: jax.Array,
    action: jax.Array,
    reward: jax.Array,
    next_state: jax.Array,
    start: jax.Array,
) -> Counts:
    """Counts one step; none for action -1, and no transition into a new episode."""
    happened = (action >= 0).astype(counts.visits.dtype)
    return Counts(
        counts.visits.at[state, action].add(happened),
        counts.reward_sum.at[state, action].add(happened * reward),
        counts.transitions.at[state, action, next_state].add(happened * ~start),
    )


def reward_belief(prior: Prior, counts: Counts) -> tuple[jax.Array, jax.Array]:
    """Mean and precision of the posterior of expected rewards, each ``[S, A]``."""
    precision = prior.precision + prior.noise_precision * counts.visits
    total = prior.precision * prior.mean + prior.noise_precision * counts.reward_sum
    return total / precision, precision


def mean_model(prior: Prior, counts: Counts) -> TabularTask:
    """The posterior means."""
    concentration = prior.dirichlet + counts.transitions
    transition = concentration / jnp.sum(concentration, axis=-1, keepdims=True)
    return TabularTask(transition, reward_belief(prior, counts)[0])


def sampled_model(key: Key, prior: Prior, counts: Counts) -> TabularTask:
    """A draw from the posterior."""
    key_transition, key_reward = jax.random.split(key)
    noise = gamma_noise(key_transition, counts.transitions.shape)
    mean, precision = reward_belief(prior, counts)
    normal = jax.random.normal(key_reward, mean.shape)
    return TabularTask(
        dirichlet(noise, prior.dirichlet + counts.transitions),
        mean + normal * jax.lax.rsqrt(precision),
    )
