"""What must not change a result: blocks, resuming, layout, company; and what must."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import toys

import metajax
from metajax import outer
from metajax.training import initial_state

KEY = 7


def _copy(tree):
    return jax.tree.map(jnp.copy, tree)


# "emaml" is backprop with a state of its own.
@pytest.mark.parametrize("rule", [rule for rule in toys.OUTER_RULES if rule != "backprop"])
def test_blocks_and_resuming_do_not_change_a_bit(rule, line, assert_same):
    name, options = toys.OUTER_RULES[rule]
    algorithm = toys.make(name, line, **options)
    key = jax.random.key(KEY)
    saved = {}

    def save(reached, state, infos):
        del infos
        saved[reached] = _copy(state)

    whole, history = metajax.train(algorithm, key, 2)
    blocks, block_history = metajax.train(algorithm, key, 2, block_size=1, on_block=save)
    resumed, tail = metajax.train(
        algorithm, key, 2, state=saved[1], start=1, on_block=lambda *block: None
    )
    assert sorted(saved) == [1, 2]
    assert_same(whole, blocks)
    assert_same(jax.device_get(history), block_history)
    assert_same(whole, resumed)
    assert_same(jax.tree.map(lambda leaf: leaf[1:], history), tail)
    start = initial_state(algorithm, key).theta
    pairs = zip(*map(jax.tree.leaves, (start, whole.theta)), strict=True)
    assert any(not np.array_equal(*pair) for pair in pairs)


def test_the_same_seed_gives_the_same_run_and_another_one_does_not(line, assert_same):
    algorithm = toys.make("maml", line)
    first, again, other = (
        metajax.train(algorithm, jax.random.key(seed), 4)[0] for seed in (1, 1, 2)
    )
    assert_same(first, again)
    pairs = zip(*map(jax.tree.leaves, (first.theta, other.theta)), strict=True)
    assert any(not np.array_equal(*pair) for pair in pairs)


def test_a_state_that_init_gives_out_again_survives_training(line, assert_same):
    """``train`` overwrites its state in place, but not what the learner holds on to."""
    algorithm = toys.make("maml", line)
    pretrained = algorithm.init(jax.random.key(0)).theta
    kept = jax.device_get(_copy(pretrained))  # a view of the original would protect it
    learner = algorithm.learner._replace(init=lambda key: pretrained)
    problem = metajax.fresh(line, learner, num_streams=2)
    estimator = outer.displacement(problem, metajax.Layout.build(2, num_devices=1))
    warm = metajax.compose(problem, outer.once(estimator, optax.sgd(0.1)))
    first, _ = metajax.train(warm, jax.random.key(1), 2)
    second, _ = metajax.train(warm, jax.random.key(1), 2)
    assert_same(first, second)
    assert_same(kept, jax.device_get(pretrained))


# --- Layout ----------------------------------------------------------------------------

LAYOUTS = {
    "backprop": [(4, 4), (4, 1), (1, 1)],
    "displacement": [(4, 4), (2, 1)],
    "epochs": [(4, 4), (2, 1)],
    "trust region": [(4, 4), (2, 1)],
}


@pytest.mark.usefixtures("quick_compilation")
@pytest.mark.parametrize("rule", LAYOUTS)
def test_microbatches_change_only_rounding(rule, line, assert_same):
    name, options = toys.OUTER_RULES[rule]
    # Adam would make much of little where a gradient is near zero.
    options = {**options, "optimizer": "sgd", "learning_rate": 0.1}
    results = []
    for microbatch, gradient_microbatch in LAYOUTS[rule]:
        algorithm = toys.make(
            name,
            line,
            microbatch=microbatch,
            gradient_microbatch=gradient_microbatch,
            devices=1,
            **options,
        )
        state = algorithm.init(jax.random.key(KEY))
        results.append(jax.jit(algorithm.step)(jax.random.key(1), state))
    for result in results[1:]:
        assert_same(results[0], result, rtol=2e-5, atol=2e-6)


@pytest.mark.usefixtures("quick_compilation")
@pytest.mark.parametrize("family", ["arms", "line"])
def test_one_task_alone_equals_the_same_task_in_a_batch(family, request, assert_same):
    family = request.getfixturevalue(family)
    # Fitting a baseline to nine transitions would make much of the last bit.
    algorithm = toys.make("maml", family, inner_steps=2, baseline="none")
    theta = algorithm.init(jax.random.key(KEY)).theta
    keys = jax.random.split(jax.random.key(1), 5)
    tasks = jax.vmap(family.sample)(keys)
    together = jax.jit(jax.vmap(algorithm.adapt, (0, None, 0)))(keys, theta, tasks)
    alone = jax.jit(algorithm.adapt)
    for row in range(5):
        task = jax.tree.map(lambda leaf, row=row: leaf[row], tasks)
        expected = jax.tree.map(lambda leaf, row=row: leaf[row], together)
        assert_same(alone(keys[row], theta, task), expected, rtol=1e-5, atol=1e-5)


# --- Randomness ------------------------------------------------------------------------


@pytest.mark.usefixtures("quick_compilation")
def test_no_two_rollouts_share_their_randomness(line):
    """Tasks, chunks and streams all act on noise of their own."""
    learner = toys.make("maml", line).learner
    problem = metajax.fresh(line, learner, num_adaptations=2, num_streams=3)
    objective = outer.post_adaptation(problem)
    theta = learner.init(jax.random.key(0))
    keys = jax.random.split(jax.random.key(1), 4)
    items, _ = jax.jit(jax.vmap(objective.collect, (0, None)))(keys, theta)
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
        del reached, state, infos
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
