"""A Markov decision process so small that every trajectory can be listed.

Two states, two actions, three steps. All probabilities are multiples of 1/4, so
that a chunk of finitely many episodes can hold every trajectory exactly as often
as it happens: what a learner makes of that chunk is an exact expectation.
"""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special

from metajax.core.family import Discrete, Spec, TaskFamily, TimeStep
from metajax.core.problem import Problem
from metajax.core.types import Chunk, Learner
from metajax.data.fresh import fresh
from metajax.inner import reinforce
from metajax.networks import Policy, categorical

NUM_STATES, NUM_ACTIONS, LENGTH = 2, 2, 3


class MDP(NamedTuple):
    """Start ``[S]``, transitions ``[S, A, S]`` and rewards ``[S, A]``."""

    start: np.ndarray
    transition: np.ndarray
    reward: np.ndarray


_START = np.array([0.25, 0.75])
_REWARD = np.array([[1.0, -0.5], [0.3, 2.0]])
FIXED = MDP(_START, np.array([[[1.0, 0], [0, 1]], [[0, 1], [1, 0]]]), _REWARD)
STOCHASTIC = MDP(
    _START, np.array([[[0.75, 0.25], [0.25, 0.75]], [[0.5, 0.5], [1.0, 0.0]]]), _REWARD
)
THETA = np.log([[1.0, 3.0], [3.0, 1.0]])
"""Logits ``[S, A]`` whose action probabilities are quarters."""


class Trajectories(NamedTuple):
    """All M trajectories that can happen.

    Attributes:
      state, action: ``[M, T]``.
      probability: ``[M]``, of the start and the transitions.
    """

    state: np.ndarray
    action: np.ndarray
    probability: np.ndarray


def enumerate_trajectories(mdp: MDP) -> Trajectories:
    """Lists every sequence of states and actions that the environment allows."""
    found = []
    for states in itertools.product(range(NUM_STATES), repeat=LENGTH):
        for actions in itertools.product(range(NUM_ACTIONS), repeat=LENGTH):
            probability = mdp.start[states[0]]
            for before, action, after in zip(states, actions, states[1:], strict=False):
                probability *= mdp.transition[before, action, after]
            if probability > 0:
                found.append((states, actions, probability))
    state, action, probability = zip(*found, strict=True)
    return Trajectories(np.array(state), np.array(action), np.array(probability))


def probability_of(trajectories: Trajectories, theta) -> jax.Array:
    """``[M]`` under the softmax policy with logits ``theta``; differentiable."""
    log_policy = jax.nn.log_softmax(theta)[trajectories.state, trajectories.action]
    return jnp.asarray(trajectories.probability) * jnp.exp(jnp.sum(log_policy, axis=-1))


def value_of(mdp: MDP, theta) -> jax.Array:
    """Expected return, by backward induction and not by trajectories."""
    policy = jax.nn.softmax(theta)
    value = jnp.zeros(NUM_STATES)
    for _ in range(LENGTH):
        value = jnp.sum(policy * (mdp.reward + mdp.transition @ value), axis=-1)
    return jnp.asarray(mdp.start) @ value


def chunk_of(mdp: MDP, state, action, theta) -> Chunk:
    """The chunk ``[T, E]`` of trajectories ``[E, T]`` that ``theta`` collected."""
    state, action = jnp.asarray(state).T, jnp.asarray(action, jnp.int32).T
    end = jnp.zeros(state.shape, bool).at[-1].set(True)
    return Chunk(
        observation=jax.nn.one_hot(state, NUM_STATES),
        action=action,
        reward=jnp.asarray(mdp.reward)[state, action],
        terminated=jnp.zeros_like(end),
        truncated=end,
        mask=jnp.ones_like(end),
        log_prob=jax.lax.stop_gradient(jax.nn.log_softmax(theta)[state, action]),
    )


def expectation_chunk(mdp: MDP, theta) -> Chunk:
    """A chunk that holds every trajectory exactly as often as it happens."""
    trajectories = enumerate_trajectories(mdp)
    policy = scipy.special.softmax(np.asarray(theta), axis=-1)
    chosen = policy[trajectories.state, trajectories.action]
    probability = trajectories.probability * np.prod(chosen, axis=-1)
    for total in 4 ** np.arange(1, 7):
        counts = total * probability
        if np.allclose(counts, np.rint(counts), atol=1e-6):
            rows = np.repeat(np.arange(len(counts)), np.rint(counts).astype(int))
            return chunk_of(mdp, trajectories.state[rows], trajectories.action[rows], theta)
    raise AssertionError("the probabilities are no multiples of a power of 1/4")


def tabular_policy() -> Policy:
    """Logits are the weights ``[S, A]``, looked up by the one-hot state."""
    return Policy(
        init=lambda key: jnp.asarray(THETA),
        apply=lambda weights, observation: observation @ weights,
        value=None,
        distribution=categorical(NUM_ACTIONS),
    )


def tabular_learner(inner, surrogate: str = "score", **options) -> Learner:
    """The package's gradient learner on the tabular policy; plain returns by default."""
    plain = {"baseline": "none", "discount": 1.0, "normalize_advantages": False}
    return reinforce(tabular_policy(), inner, surrogate=surrogate, **{**plain, **options})


def family_of(mdp: MDP) -> TaskFamily:
    """The process as an environment; there is one task, ``()``."""
    spec = Spec("mdp", (NUM_STATES,), Discrete(NUM_ACTIONS), LENGTH)

    def timestep_of(state, reward, time):
        observation = jax.nn.one_hot(state, NUM_STATES)
        truncated = time >= LENGTH
        return TimeStep(observation, reward, jnp.zeros((), bool), truncated, observation)

    def reset(key, task):
        del task
        state = jax.random.categorical(key, jnp.log(mdp.start))
        time = jnp.zeros((), jnp.int32)
        return (state, time), timestep_of(state, jnp.zeros(()), time)

    def advance(key, task, state, action):
        del task
        place, time = state
        reward = jnp.asarray(mdp.reward)[place, action]
        after = jax.random.categorical(key, jnp.log(jnp.asarray(mdp.transition)[place, action]))
        return (after, time + 1), timestep_of(after, reward, time + 1)

    return TaskFamily(spec, lambda key: (), reset, advance, advance)


def problem_of(mdp: MDP, learner: Learner, num_adaptations: int, num_streams: int) -> Problem:
    """The learner in fresh trials of the process."""
    return fresh(family_of(mdp), learner, num_adaptations=num_adaptations, num_streams=num_streams)
