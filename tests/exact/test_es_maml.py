"""The update of ES-MAML by hand: members adapt, and their ranks weigh their perturbations."""

import jax
import jax.numpy as jnp
import numpy as np
from vectors import raveled

import metajax
from metajax import outer

POPULATION, NUM_TASKS, STD = 6, 2, 0.1


def test_a_meta_iteration():
    """Members come in mirrored pairs; the update is a gradient by SGD of rate 1."""
    family = metajax.tasks.make("sinusoid")
    sizes = {"num_tasks": NUM_TASKS, "num_streams": 4, "hidden_sizes": (3,), "devices": 1}
    algorithm = metajax.make(
        "es-maml",
        family,
        population_size=POPULATION,
        std=STD,
        optimizer="sgd",
        learning_rate=1.0,
        **sizes,
    )
    search = outer.evosax_search("open-es", POPULATION, std=STD)

    @jax.jit
    def run(key):
        state = algorithm.init(jax.random.key(0))
        after, info = algorithm.step(key, state)
        key_ask, _, key_tasks = jax.random.split(key, 3)
        members, _ = search.ask(key_ask, state.theta, search.init(key, state.theta))

        def score(theta, key):
            key_task, key_trial = jax.random.split(key)
            return algorithm.adapt(key_trial, theta, family.sample(key_task)).returns[-1]

        of_member = jax.vmap(score, (None, 0))
        keys = jax.random.split(key_tasks, NUM_TASKS)
        scores = jax.lax.map(lambda theta: of_member(theta, keys), members)
        rows = jax.vmap(lambda one: jnp.concatenate([jnp.ravel(x) for x in jax.tree.leaves(one)]))
        return state.theta, rows(members), jnp.mean(scores, axis=1), after.theta, info

    theta, members, scores, after, info = jax.device_get(run(jax.random.key(1)))
    (start, _), (end, _) = raveled(theta), raveled(after)
    noise = (members - start) / STD
    np.testing.assert_allclose(noise[: POPULATION // 2], -noise[POPULATION // 2 :], atol=1e-5)
    ranks = np.argsort(np.argsort(scores)) / (POPULATION - 1) - 0.5
    np.testing.assert_allclose(
        end - start, ranks @ noise / (POPULATION * STD), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(info["fitness_mean"], scores.mean(), rtol=1e-5)
    assert info["returns"].shape == (2,)
