"""What must not change a result: blocks, resuming, layout, company; and what must."""

import flax.linen as nn
import jax
import numpy as np
import optax
import pytest
import toys

import metajax
from metajax import outer

KEY = 7


def test_a_state_that_init_gives_out_again_survives_training(line, assert_same):
    """``train`` overwrites its state in place, but not what the learner holds on to."""
    algorithm = toys.make("maml", line)
    pretrained = algorithm.init(jax.random.key(0)).theta
    # A view of the original would protect it.
    kept = jax.tree.map(np.array, pretrained)
    learner = algorithm.learner._replace(init=lambda key: pretrained)
    problem = metajax.fresh(line, learner, num_streams=2)
    estimator = outer.displacement(problem, metajax.Layout.build(2, num_devices=1))
    warm = metajax.compose(problem, outer.once(estimator, optax.sgd(0.1)))
    first, _ = metajax.train(warm, jax.random.key(1), 2)
    second, _ = metajax.train(warm, jax.random.key(1), 2)
    assert_same(first, second)
    assert_same(kept, pretrained)


# --- Layout ----------------------------------------------------------------------------


def test_microbatches_change_only_rounding(line, assert_same):
    """Of the outer rules that collect first, ``test_devices.py`` says it."""
    results = []
    for microbatch, gradient_microbatch in [(4, 4), (1, 1)]:
        algorithm = toys.make(
            "maml",
            line,
            microbatch=microbatch,
            gradient_microbatch=gradient_microbatch,
            devices=1,
            # Adam would make much of little where a gradient is near zero.
            optimizer="sgd",
            learning_rate=0.1,
        )
        state = algorithm.init(jax.random.key(KEY))
        results.append(jax.jit(algorithm.step)(jax.random.key(1), state))
    assert_same(*results, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("family", ["arms", pytest.param("line", marks=pytest.mark.further)])
def test_one_task_alone_equals_the_same_task_in_a_batch(family, request, assert_same):
    family = request.getfixturevalue(family)
    # Fitting a baseline to nine transitions would make much of the last bit.
    algorithm = toys.make("maml", family, inner_steps=2, baseline="none")

    def one(theta, key, task_key):
        return algorithm.adapt(key, theta, family.sample(task_key))

    @jax.jit
    def together(theta, key):
        keys = jax.random.split(key, 5)
        return keys, jax.vmap(one, (None, 0, 0))(theta, keys, keys)

    theta = algorithm.init(jax.random.key(KEY)).theta
    keys, expected = together(theta, jax.random.key(1))
    alone = jax.jit(one)
    expected = jax.device_get(expected)
    for row in range(5):
        assert_same(
            alone(theta, keys[row], keys[row]),
            jax.tree.map(lambda leaf, row=row: leaf[row], expected),
            rtol=1e-5,
            atol=1e-5,
        )


# --- Randomness ------------------------------------------------------------------------


def test_no_two_rollouts_share_their_randomness(line):
    """Tasks, chunks and streams all act on noise of their own."""
    learner = toys.make("maml", line).learner
    problem = metajax.fresh(line, learner, num_adaptations=2, num_streams=3)
    objective = outer.post_adaptation(problem)

    @jax.jit
    def run(key):
        theta = learner.init(jax.random.key(0))
        return jax.vmap(objective.collect, (0, None))(jax.random.split(key, 4), theta)[0]

    items = jax.device_get(run(jax.random.key(1)))
    first = [items.support.action[:, :, 0, :, 0], items.query.action[:, None, 0, :, 0]]
    actions = np.concatenate(first, axis=1).reshape(4 * 3 * 3)
    assert len(np.unique(actions)) == actions.size
    starts = np.concatenate(
        [items.support.observation[:, :, 0, :, 0], items.query.observation[:, None, 0, :, 0]], 1
    )
    assert len(np.unique(starts)) == starts.size
    assert len(np.unique(items.query.observation[:, 0, 0, 1])) == 4, "four tasks"


# --- Compilation -----------------------------------------------------------------------

TRACES = []


class Counting(nn.Module):
    """A torso that notes when JAX traces it."""

    @nn.compact
    def __call__(self, observation):
        TRACES.append(observation.shape)
        return nn.Dense(3)(observation.reshape(observation.shape[0], -1))


def test_one_trace_for_a_configuration(line):
    algorithm = toys.make("maml", line, network=Counting())
    counts = []

    def count(reached, state, infos):
        del reached, state
        assert infos["returns"].shape == (2, 2)
        counts.append(len(TRACES))

    def run(seed):
        key = jax.random.key(seed)
        state, _ = metajax.train(algorithm, key, 6, block_size=2, on_block=count)
        metajax.evaluate(algorithm, key, state.theta, num_tasks=3)
        return len(TRACES)

    first = run(0)
    assert len(set(counts)) == 1, "later blocks reuse the first one's program"
    before = len(TRACES)
    algorithm.init(jax.random.key(2))
    of_init = len(TRACES) - before
    before = len(TRACES)
    second = run(1)
    assert first > 0
    assert second - before <= of_init, "the second run traces at most its initial state"
