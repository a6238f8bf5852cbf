"""The chain of signal and noise."""

import jax
import numpy as np
import pytest

from metajax import tasks


@pytest.mark.parametrize(
    ("order", "noisy"),
    [("halves", [0, 1, 2, 3, 4]), ("alternating", [1, 3, 5, 7, 9])],
)
def test_rewards_are_signal_or_noise_by_state(many_trials, order, noisy):
    family = tasks.make("xu-chain", order=order)
    keys = jax.random.split(jax.random.key(0), 500)
    actions = np.zeros(20, np.int32)
    states, timestep = many_trials(
        family, jax.random.key(1), jax.vmap(family.sample)(keys), actions
    )
    np.testing.assert_array_equal(states.time[0], [*range(10), *range(10)])
    paid = timestep.reward.reshape(1000, 10)
    pays = np.setdiff1d(np.arange(10), noisy)
    assert (paid[:, pays] == np.float32(0.1)).all()
    np.testing.assert_allclose(paid[:, noisy].mean(), 0, atol=0.07)
    np.testing.assert_allclose(paid[:, noisy].std(), 1, atol=0.05)
    assert timestep.terminated[:, [9, 19]].all()
    assert timestep.terminated.sum() == 2 * 500
    assert not timestep.truncated.any()
    # One-hot; nothing is shown of the state after the last.
    np.testing.assert_array_equal(timestep.final_observation[0, :9], np.eye(10)[1:])
    assert (timestep.final_observation[:, 9] == 0).all()
    assert family.spec.random_return == pytest.approx(0.5)
