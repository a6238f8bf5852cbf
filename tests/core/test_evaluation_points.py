"""Where the points of a lifetime lie."""

import jax
import numpy as np
import pytest
import toys

import metajax
from metajax.run import meta_test


def test_points_are_after_a_whole_number_of_adaptations():
    family = toys.arms(episode_length=2)
    sizes = {"num_streams": 2, "num_steps": 2, "lifetime": 20, "num_points": 3}
    small = {"batch_size": 2, "learning_starts": 4, "hidden_sizes": (2,), "num_tasks": 2}
    dqn = metajax.make("dqn", family, **sizes, **small)
    theta = dqn.init(jax.random.key(0)).theta
    found = metajax.evaluate(
        dqn, jax.random.key(1), theta, num_tasks=3, num_adaptations=5, explore=False
    )
    # After 0, floor(5/3), floor(10/3), 5 adaptations of 4 transitions.
    np.testing.assert_array_equal(found.steps, [0, 4, 12, 20])
    np.testing.assert_array_equal(found.positions, found.steps)
    assert found.returns.shape == (3, 4)
    longer = metajax.evaluate(dqn, jax.random.key(1), theta, num_tasks=2, num_adaptations=9)
    np.testing.assert_array_equal(longer.steps, [0, 12, 24, 36])


def test_a_record_keeps_them():
    config = metajax.run.config.parse("", ["algorithm.name=dqn", "family.name=cartpole"])
    steps = np.array([0, 10])
    one = metajax.evaluation.Evaluation(np.ones((2, 2), np.float32), "points", False, 40, steps)
    record = meta_test.to_record(one, one, config, 3)
    for read in meta_test.from_record(record):
        np.testing.assert_array_equal(read.steps, steps)


def test_mixed_up_arguments_are_said():
    algorithm = toys.make("reptile", toys.line(), num_tasks=2)
    state = metajax.initial_state(algorithm, jax.random.key(0))
    whole, theta = (
        metajax.evaluate(algorithm, jax.random.key(0), one, num_tasks=2)
        for one in (state, state.theta)
    )
    np.testing.assert_array_equal(whole.returns, theta.returns)
    with pytest.raises(metajax.OptionError, match=r"train\(algorithm, key, number\)"):
        metajax.train(algorithm, 1, jax.random.key(0))  # type: ignore[arg-type]


def test_a_frame_has_a_row_for_each_task_and_position():
    returns = np.array([[1.0, 2.0], [3.0, 4.5]])
    one = metajax.Evaluation(returns, "points", False, 40, np.array([0, 20]), score="accuracy")
    frame = one.to_frame()
    assert frame.columns.tolist() == ["task", "points", "accuracy"]
    assert frame.values.tolist() == [[0, 0, 1], [0, 20, 2], [1, 0, 3], [1, 20, 4.5]]
    assert one._replace(axis="episodes", steps=None).positions.tolist() == [1, 2]
    assert one._replace(axis="adaptations", steps=None).positions.tolist() == [0, 1]
    assert repr(one) == "Evaluation(accuracy 2, 3.25 over points, 2 tasks)"


def test_a_state_is_represented_by_its_size():
    state = metajax.MetaState({"w": np.zeros((2, 3)), "b": np.zeros(3)}, ())
    assert repr(state) == "MetaState(theta: 9 numbers in 2 arrays, carry: 0 numbers in 0 arrays)"
