"""Demonstrations of an oracle, and what is refused and learned."""

import dataclasses

import jax
import numpy as np
import pytest

import metajax
from metajax.data.demonstrated import demonstrated

KEY = jax.random.key(0)


@pytest.mark.parametrize("query", ["oracle", "learner"])
def test_every_chunk_shows_the_oracles_action_in_its_states(query):
    family = metajax.tasks.make("point-navigation", episode_length=8)
    sizes = {"num_streams": 3, "hidden_sizes": (4,), "embedding_size": 2, "head_sizes": ()}
    algorithm = metajax.make("prototypical-imitation", family, slip=0.4, query=query, **sizes)

    def trial(key):
        task = family.sample(key)
        found = algorithm.adapt(key, algorithm.init(key).theta, task)
        return (
            task.goal,
            found.env_steps,
            jax.tree.map(lambda leaf: leaf[0], found.support),
            found.query,
        )

    goal, env_steps, *chunks = jax.device_get(jax.jit(jax.vmap(trial))(jax.random.split(KEY, 6)))
    for chunk, acts in zip(chunks, ("oracle", query), strict=True):
        best = np.clip(goal[:, None, None] - chunk.observation, -0.1, 0.1)
        np.testing.assert_allclose(chunk.action[chunk.mask], best[chunk.mask], atol=1e-6)
        otherwise = np.abs(np.diff(chunk.observation, axis=1) - best[:, :-1]).max(axis=-1) > 1e-6
        slipped = otherwise[chunk.mask[:, 1:]].mean()
        if acts == "oracle":
            assert 0.2 < slipped < 0.6
        else:
            assert slipped > 0.7, "who has learned nothing mostly acts otherwise"
    assert (env_steps == sum(chunk.mask.sum(axis=(1, 2)) for chunk in chunks)).all()


def test_what_cannot_be_demonstrated_is_named():
    with pytest.raises(metajax.OptionError, match="family: catch has no oracle"):
        metajax.make("cloning", metajax.tasks.make("catch"))
    with pytest.raises(metajax.OptionError, match="family: sinusoid holds labelled examples"):
        metajax.make("cloning", metajax.tasks.make("sinusoid"))
    plane = metajax.tasks.make("point-navigation")
    anywhere = dataclasses.replace(plane.spec, action_space=metajax.Box((-1, 0), (1, np.inf)))
    with pytest.raises(metajax.OptionError, match=r"family: .* whose actions have bounds"):
        metajax.make("cloning", plane._replace(spec=anywhere))
    with pytest.raises(metajax.OptionError, match=r"query: .* allowed: learner, oracle"):
        demonstrated(metajax.tasks.make("gridnavi"), lambda number: None, query="both")  # type: ignore[arg-type]


@pytest.mark.slow
def test_one_demonstration_shows_the_way():
    """Who knows the goal returns 11.07."""
    family = metajax.tasks.make("gridnavi")
    sizes = {"num_tasks": 32, "learning_rate": 3e-3, "slip": 0.2}
    algorithm = metajax.make("matching-imitation", family, **sizes)
    state, _ = metajax.train(algorithm, KEY, 300)
    how = {"num_tasks": 200, "explore": False}
    before, after = metajax.evaluate(algorithm, jax.random.key(1), state, **how).mean()
    assert before < 2
    assert after > 8
