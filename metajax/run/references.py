"""Returns to compare a meta-test with: of who knows the task, and of random actions."""

from __future__ import annotations

import jax
import numpy as np

from metajax.core.algorithm import MetaAlgorithm
from metajax.core.family import Box, Family, Key, TaskFamily
from metajax.data.demonstrated import demonstrator, showing
from metajax.data.rollout import rollout
from metajax.evaluation import optimal_returns
from metajax.run.config import Config

ORACLE, RANDOM = "oracle", "random actions"


def references(
    config: Config, algorithm: MetaAlgorithm, held_out: Family, key: Key
) -> dict[str, float]:
    """Mean returns of an episode by name, as far as the family knows them.

    They are measured in the held-out tasks where the family has an oracle. Otherwise they are
    what its ``spec`` says of whole episodes.

    Args:
      config: Config of the run.
      algorithm, held_out: Result of ``config.build()``.
      key: That of the meta-test; the tasks are the same.
    """
    if not isinstance(held_out, TaskFamily):
        return {}
    spec, num_tasks = held_out.spec, config.evaluate.num_tasks
    horizon = getattr(config.algorithm.options, "horizon", None) or spec.episode_length
    whole = horizon == spec.episode_length
    found = {ORACLE: spec.oracle_return, RANDOM: spec.random_return} if whole else {}
    if whole and (optimal := optimal_returns(key, held_out, num_tasks)) is not None:
        found[ORACLE] = float(np.mean(optimal))
    space = spec.action_space
    bounded = not isinstance(space, Box) or np.isfinite([*space.low, *space.high]).all()
    if held_out.oracle is not None and algorithm.learner.actor is not None and bounded:
        found = _measured(algorithm, held_out, key, num_tasks, horizon)
    return {name: one for name, one in found.items() if one is not None and np.isfinite(one)}


def _measured(
    algorithm: MetaAlgorithm, family: TaskFamily, key: Key, num_tasks: int, horizon: int
) -> dict[str, float]:
    world, actor = showing(family), algorithm.learner.actor
    assert actor is not None

    def of_task(key):
        key_task, key_episode = jax.random.split(key)
        task = family.sample(key_task)

        def episode(slip):
            acting = demonstrator(family.spec, actor._replace(records=()), slip)
            return rollout(world, acting, key_episode, (), (), task, 1, horizon).reward.sum()

        return episode(0.0), episode(1.0)

    means = jax.jit(lambda keys: [one.mean() for one in jax.vmap(of_task)(keys)])
    returns = means(jax.random.split(key, num_tasks))
    return dict(zip((ORACLE, RANDOM), map(float, returns), strict=True))
