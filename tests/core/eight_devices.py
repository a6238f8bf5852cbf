"""What the tests run on eight devices, in a process of its own."""

import jax
import numpy as np
import optax
import pytest
import toys

import metajax

assert jax.local_device_count() == 8
family = toys.line()


# One device works off two blocks of tasks, with gradients of two tasks at a time; each of
# eight has one task.
BLOCKS = {1: {"microbatch": 4, "gradient_microbatch": 2}, 8: {}}


def rules(devices):
    # Minibatches and Fisher tasks that eight devices cannot share evenly.
    few = {
        "epochs": {"num_minibatches": 2, "devices": None if devices > 1 else 1},
        "trust region": {"fisher_tasks": 2},
    }
    for rule, (name, options) in toys.OUTER_RULES.items():
        if rule != "emaml":  # laid out like backprop
            options = {"devices": devices, **options, **BLOCKS[devices], **few.get(rule, {})}
            options |= {"optimizer": "sgd", "learning_rate": 0.1}
            yield rule, toys.make(name, family, num_tasks=8, **options)


def close(one, other, what):
    for first, second in zip(*map(jax.tree.leaves, (one, other)), strict=True):
        np.testing.assert_allclose(first, second, rtol=2e-5, atol=2e-6, err_msg=what)


for (rule, alone), (_, shared) in zip(rules(1), rules(8), strict=True):
    state = alone.init(jax.random.key(0))
    # A trust region solves equations, which make much of every rounding: in float64.
    with jax.enable_x64(rule == "trust region"):
        if rule == "trust region":
            state = state._replace(theta=jax.tree.map(np.float64, state.theta))
        one, eight = (jax.jit(rule.step)(jax.random.key(1), state) for rule in (alone, shared))
    close(one, eight, rule)
    pairs = zip(*map(jax.tree.leaves, (one[0].theta, state.theta)), strict=True)
    assert max(np.abs(a - b).max() for a, b in pairs) > 1e-3, rule
    print("same:", rule)

# By default all devices are used, with seeds side by side too.
algorithm = toys.make("reptile", family, num_tasks=8, devices=None)


def run(seed, **options):
    return metajax.train(algorithm, jax.random.key(seed), 2, **options)[0].theta


rows = jax.jit(jax.vmap(run))(np.arange(2))
in_blocks = {"block_size": 1, "on_block": lambda *_: None}
close(jax.tree.map(lambda leaf: leaf[1], rows), run(1, **in_blocks), "seeds")

# Trained on five of the devices, tested on eight and on three, and gone on with on eight.
five = toys.make("reptile", family, num_tasks=5, devices=None)
state, _ = metajax.train(five, jax.random.key(0), 1, on_block=lambda *_: None)
assert len(jax.tree.leaves(state.theta)[0].sharding.device_set) == 5
on_host = jax.device_get(state.theta)
for number in (16, 3):
    here, there = (
        metajax.evaluate(five, jax.random.key(1), theta, num_tasks=number)
        for theta in (state.theta, on_host)
    )
    np.testing.assert_array_equal(here.returns, there.returns)
    assert np.isfinite(here.returns).all()
    assert here.returns.shape == (number, 4)
more, _ = metajax.train(algorithm, jax.random.key(0), 2, state=state, start=1, **in_blocks)
assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(more.theta))

# Minibatches: as many devices as share each of them, and no others.
bandit = metajax.tasks.make("bernoulli-bandit", num_arms=2, num_pulls=3)
options = {"num_minibatches": 8, "num_epochs": 1, "hidden_size": 2}
rl2 = metajax.make("rl2", bandit, num_tasks=24, **options)
text = jax.jit(rl2.step).lower(jax.random.key(0), rl2.init(jax.random.key(0))).as_text()
assert "num_partitions = 3" in text
assert metajax.Layout.build(1000, num_minibatches=8).num_devices == 5

# A block that is given leaves some of the devices out, where it must.
assert metajax.Layout.build(40, microbatch=20).num_devices == 2
layout = metajax.Layout.build(40, gradient_microbatch=8)
assert (layout.microbatch, layout.num_devices) == (8, 5), layout
layout = metajax.Layout.build(80, gradient_microbatch=40)
assert (layout.microbatch, layout.num_devices) == (40, 2), layout
layout = metajax.Layout.build(512, gradient_microbatch=8, num_devices=4)
assert (layout.microbatch, layout.gradient_microbatch) == (32, 8), layout
with pytest.raises(metajax.OptionError, match=r"^devices: 8 is not possible; allowed: a divisor"):
    metajax.make("rl2", bandit, num_tasks=24, devices=8, **options)
print("layouts: as they should be")

# A population of four, each member with its tasks on two devices.
layout = metajax.Layout.build(4, population=4)
assert (layout.population_devices, layout.num_devices) == (4, 2), layout
assert dict(layout.mesh.shape) == {"population": 4, "tasks": 2}


def final(layout):
    def run(row):
        seed, rate = row
        problem = toys.make("maml", family, inner_lr=rate, devices=1).problem
        objective = metajax.outer.post_adaptation(problem)
        rule = metajax.outer.once(metajax.outer.backprop(objective, layout), optax.sgd(0.1))
        mine = metajax.compose(problem, rule)
        return metajax.train(mine, jax.random.key(seed), 2)[0].theta

    return run


rows = np.arange(4), np.array([0.1, 0.2, 0.3, 0.4], np.float32)
spread = jax.jit(layout.over_population(final(layout)))(rows)
alone = metajax.Layout.build(4, num_devices=1)
plain = jax.jit(alone.over_population(final(alone)))(rows)
for one, other in zip(*map(jax.tree.leaves, (spread, plain)), strict=True):
    assert len(one.sharding.device_set) == 8, one.sharding
    np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-6)
print("population: the same")
