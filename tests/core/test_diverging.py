"""What diverges shows in returns, though actions and rewards stay ordinary numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import protocol
import pytest
import toys

import metajax
from metajax.core.family import TaskFamily

KEY = jax.random.key(0)


def _blind(family: TaskFamily) -> TaskFamily:
    """The family with observations of NaN."""

    def blind(outcome):
        state, seen = outcome
        nothing = jnp.full_like(seen.observation, jnp.nan)
        return state, seen._replace(observation=nothing, final_observation=nothing)

    return family._replace(
        reset=lambda *given: blind(family.reset(*given)),
        step=lambda *given: blind(family.step(*given)),
        advance=lambda *given: blind(family.advance(*given)),
    )


def _measured(algorithm, family=None, **sizes):
    theta = algorithm.deploy(algorithm.init(KEY))
    return metajax.evaluate(algorithm, KEY, theta, family, num_tasks=3, **sizes).returns


def test_adapted_weights_of_a_lifetime():
    sizes = protocol.lifetime_sizes("dqn")
    returns = _measured(metajax.make("dqn", toys.arms(), **sizes | {"inner_lr": 1e38}))
    assert np.isfinite(returns[:, :-1]).all()
    assert np.isnan(returns[:, -1]).any()


@pytest.mark.further
def test_observations_of_a_memory():
    """Nothing of theta or phi is NaN in a meta-test on a family that shows NaN."""
    rl2 = metajax.make("rl2", toys.arms(), num_tasks=4, hidden_size=3)
    assert np.isfinite(_measured(rl2)).all()
    returns = _measured(rl2, _blind(toys.arms()))
    assert np.isfinite(returns[:, :-1]).all()
    assert np.isnan(returns[:, -1]).all()


@pytest.mark.further
def test_each_of_several_thetas():
    maml = toys.make("maml", toys.line())
    theta = maml.init(KEY).theta
    thetas = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf * jnp.nan, leaf + 0.1]), theta)
    returns = jax.vmap(lambda theta: metajax.evaluate(maml, KEY, theta, num_tasks=2).returns)(
        thetas
    )
    np.testing.assert_array_equal(np.isfinite(returns[..., -1]).all(axis=1), [True, False, True])
