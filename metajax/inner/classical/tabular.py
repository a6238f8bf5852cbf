"""Counts and conjugate posteriors of finite Markov decision processes.

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
    """Sufficient statistics of one trial, float32.

    Attributes:
      visits: ``[S, A]``, number of rewards observed.
      reward_sum: ``[S, A]``, sum of these rewards.
      transitions: ``[S, A, S]``, number of next states observed. The state after the last
        step of an episode is not, since the next observation starts another episode.
    """

    visits: jax.Array
    reward_sum: jax.Array
    transitions: jax.Array


class Prior(NamedTuple):
    """Independent priors of every state and action.

    Expected rewards are Gaussian, and rewards Gaussian around them; transition probabilities
    are Dirichlet with equal concentrations.

    Attributes:
      mean: Mean of the expected reward.
      precision: Precision (inverse variance) of the expected reward.
      noise_precision: Precision of a reward around the expected reward.
      dirichlet: Concentration of each next state.
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
    """``counts`` after one step.

    No step is counted for action -1, and no transition if ``next_state`` is the ``start`` of
    another episode.
    """
    happened = (action >= 0).astype(counts.visits.dtype)
    return Counts(
        counts.visits.at[state, action].add(happened),
        counts.reward_sum.at[state, action].add(happened * reward),
        counts.transitions.at[state, action, next_state].add(happened * ~start),
    )


def reward_belief(prior: Prior, counts: Counts) -> tuple[jax.Array, jax.Array]:
    """Posterior mean and precision of the expected rewards, each ``[S, A]``."""
    precision = prior.precision + prior.noise_precision * counts.visits
    total = prior.precision * prior.mean + prior.noise_precision * counts.reward_sum
    return total / precision, precision


def mean_model(prior: Prior, counts: Counts) -> TabularTask:
    """The model of posterior means."""
    concentration = prior.dirichlet + counts.transitions
    transition = concentration / jnp.sum(concentration, axis=-1, keepdims=True)
    return TabularTask(transition, reward_belief(prior, counts)[0])


def sampled_model(key: Key, prior: Prior, counts: Counts) -> TabularTask:
    """A model sampled from the posterior."""
    key_transition, key_reward = jax.random.split(key)
    noise = gamma_noise(key_transition, counts.transitions.shape)
    mean, precision = reward_belief(prior, counts)
    normal = jax.random.normal(key_reward, mean.shape)
    return TabularTask(
        dirichlet(noise, prior.dirichlet + counts.transitions),
        mean + normal * jax.lax.rsqrt(precision),
    )
