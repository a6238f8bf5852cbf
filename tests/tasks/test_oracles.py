"""Oracles of families, who see the task, return what the best policy can."""

import jax
import numpy as np
import pytest

import metajax
from metajax import tasks
from metajax.data.demonstrated import demonstrations
from metajax.tasks.plane.base import oracle_distances

NUM_TASKS = 40


def _demonstrated(family, horizon):
    """Tasks of a family and one episode of its oracle in each, ``[N, T, 1, ...]``."""
    learner = metajax.make("cloning", family, hidden_sizes=()).learner
    source = demonstrations(family, learner, 1, horizon, 0.0, "oracle")

    def run(key):
        task = family.sample(key)
        best = family.spec.optimal_return
        return task, source.open(key, (), task), None if best is None else best(task)

    keys = jax.random.split(jax.random.key(0), NUM_TASKS)
    return jax.device_get(jax.jit(jax.vmap(run))(keys))


@pytest.mark.parametrize("name", ["gridnavi", "dark-room"])
def test_a_shortest_path_returns_the_optimum(name):
    family = tasks.make(name)
    _, chunk, optimum = _demonstrated(family, family.spec.episode_length)
    assert np.ptp(optimum) > 0 or name == "dark-room"
    np.testing.assert_allclose(chunk.reward.sum(axis=(1, 2)), optimum, rtol=1e-5)


@pytest.mark.parametrize("name", ["point-navigation", "sparse-point-robot"])
def test_the_way_towards_a_point_is_as_near_as_can_be(name):
    family, steps = tasks.make(name, episode_length=12), 12
    task, chunk, _ = _demonstrated(family, steps)
    nearest = oracle_distances(task.goal, steps)
    after = np.linalg.norm(chunk.observation[:, 1:, 0] - task.goal[:, None], axis=-1)
    after = np.where(chunk.mask[:, 1:, 0], after, 0)
    # An episode of point navigation ends a little before its goal.
    np.testing.assert_allclose(after, nearest[:, :-1], atol=0.015)
    if name == "point-navigation":
        assert chunk.terminated.any(axis=(1, 2)).all()
