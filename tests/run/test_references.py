"""Returns that a meta-test is compared with are those of the held-out tasks."""

import jax
import numpy as np

from metajax.core.family import TaskFamily
from metajax.evaluation import optimal_returns
from metajax.run.config import parse
from metajax.run.references import references

KEY = jax.random.key(3)


def _references(family, algorithm):
    config = parse(f"[family]\n{family}\n[algorithm]\n{algorithm}\n[evaluate]\nnum-tasks = 400")
    algorithm, held_out = config.build()
    return references(config, algorithm, held_out, KEY), held_out


def test_an_oracle_and_random_actions_are_measured_in_the_tasks_of_the_meta_test():
    found, family = _references('name = "gridnavi"\nepisode-length = 8', 'name = "rl2"')
    assert isinstance(family, TaskFamily)
    optimum, random = optimal_returns(KEY, family, 400), family.spec.random_return
    assert optimum is not None
    assert random is not None
    np.testing.assert_allclose(found["oracle"], optimum.mean(), rtol=1e-5)
    np.testing.assert_allclose(found["random actions"], random, atol=0.1)


def test_others_are_what_the_family_says_of_whole_episodes():
    found, _ = _references('name = "bernoulli-bandit"\nnum-arms = 2', 'name = "rl2"')
    assert found["random actions"] == 0.5
    assert abs(found["oracle"] - 2 / 3) < 0.05
    maml = 'name = "maml"\nnum-tasks = 4'
    assert _references('name = "catch"', maml)[0] == {"oracle": 1, "random actions": -0.6}
    assert _references('name = "catch"', f"{maml}\nhorizon = 5")[0] == {}
    assert _references('name = "sinusoid"', maml)[0] == {}
