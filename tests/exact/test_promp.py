"""The objective of ProMP against the enumeration of all trajectories."""

import jax
import jax.numpy as jnp
import mdp as m
import numpy as np
import optax

from metajax import outer
from metajax.algorithms.gradient.promp import ProMP
from metajax.core.types import ReplayKeys
from metajax.inner import DescentState

INNER_LR, CLIP, WEIGHT = 1.2, 0.1, 0.3
MOVED = m.THETA + np.array([[0.3, -0.2], [0.1, 0.4]])
"""Where passes over the trials may have led."""


def test_gradient_between_passes():
    """At the theta that collected, the divergence would have no gradient."""
    mdp, old = m.STOCHASTIC, jnp.asarray(m.THETA)
    learner = m.tabular_learner(optax.sgd(INNER_LR), "lvc")
    objective = ProMP(clip=CLIP, kl_coefficient=WEIGHT).objective(m.problem_of(mdp, learner, 1, 1))
    all_of_them = m.enumerate_trajectories(mdp)
    state, action = all_of_them.state, all_of_them.action
    reward = mdp.reward[state, action]
    to_go = np.cumsum(reward[:, ::-1], axis=1)[:, ::-1]

    def log_prob(theta):
        return jax.nn.log_softmax(theta)[state, action]

    def adapted_by_hand(theta):
        """One step along the expected ratio times return, by trajectories of the old policy."""

        def surrogate(at):
            ratio = jnp.exp(log_prob(at) - log_prob(old))
            return jnp.sum(m.probability_of(all_of_them, old) * jnp.mean(ratio * to_go, axis=1))

        return theta + INNER_LR * jax.grad(surrogate)(theta)

    def by_hand(theta):
        acted, now = (adapted_by_hand(point) for point in (old, theta))
        ratio = jnp.exp(log_prob(now) - log_prob(acted))
        clipped = jnp.clip(ratio, 1 - CLIP, 1 + CLIP)
        worse = jnp.mean(jnp.minimum(ratio * to_go, clipped * to_go), axis=1)
        before, after = (jax.nn.log_softmax(point) for point in (old, theta))
        kept = jnp.sum(jnp.exp(before) * (before - after), axis=-1)
        visited = m.probability_of(all_of_them, old) @ jnp.mean(kept[state], axis=1)
        return WEIGHT * visited - m.probability_of(all_of_them, acted) @ worse

    def annotated(chunk, theta):
        chunk = learner.actor.annotate(None, DescentState(theta, ()), chunk)
        return chunk._replace(distribution=chunk.observation @ theta)

    support = jax.tree.map(
        lambda leaf: leaf[None], annotated(m.expectation_chunk(mdp, m.THETA), old)
    )
    keys = ReplayKeys(*jax.random.key_data(jax.random.split(jax.random.key(0))))

    @jax.jit
    def both(theta):
        acted = adapted_by_hand(old)

        def of_query(state, action):
            query = annotated(m.chunk_of(mdp, state[None], action[None], acted), acted)
            item = outer.TrialItem(support, query, keys, (), jnp.zeros(()))
            (value, info), gradient = jax.value_and_grad(objective.loss, has_aux=True)(theta, item)
            return value, gradient, info["divergence"]

        found = jax.vmap(of_query)(state, action)
        weights = m.probability_of(all_of_them, acted)
        mean = jax.tree.map(lambda leaf: jnp.tensordot(weights, leaf, 1), found)
        return mean, jax.value_and_grad(by_hand)(theta)

    (value, gradient, divergence), expected = jax.device_get(both(jnp.asarray(MOVED)))
    np.testing.assert_allclose(value, expected[0], rtol=1e-10)
    np.testing.assert_allclose(gradient, expected[1], rtol=1e-9, atol=1e-12)
    assert divergence > 0.01
    assert np.abs(gradient).max() > 0.01


def test_collected_chunks_tell_the_distribution_that_acted():
    """The support of a trial of two adaptations, so that two policies act."""
    learner = m.tabular_learner(optax.sgd(INNER_LR), "lvc")
    objective = ProMP(kl_coefficient=WEIGHT).objective(m.problem_of(m.STOCHASTIC, learner, 2, 3))

    @jax.jit
    def run(key, theta):
        item, _ = objective.collect(key, theta)
        return item.support, objective.loss(theta, item)[1]["divergence"]

    support, divergence = jax.device_get(run(jax.random.key(1), jnp.asarray(m.THETA)))
    first, second = (
        np.log(np.exp(one) / np.exp(one).sum(axis=-1, keepdims=True))
        for one in support.distribution
    )
    np.testing.assert_allclose(first, support.observation[0] @ np.log([[1, 3], [3, 1]]) - np.log(4))
    assert np.abs(first - second).max() > 0.01
    for logs, action, log_prob in zip(
        (first, second), support.action, support.log_prob, strict=True
    ):
        chosen = np.take_along_axis(logs, action[..., None], -1)[..., 0]
        np.testing.assert_allclose(chosen, log_prob, rtol=1e-12)
    np.testing.assert_allclose(divergence, 0, atol=1e-14)
