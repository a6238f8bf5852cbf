"""Evolution strategies, and what es-dqn lets them find."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toys

import metajax
from metajax import inner, networks, outer
from metajax.core.family import Box, Discrete, Spec, TaskFamily, TimeStep
from metajax.core.layout import Layout
from metajax.core.types import Actor, ActorOutput, Chunk, Learner
from metajax.data.fresh import fresh
from metajax.inner.q.exploration import rate_features
from metajax.tasks import with_auto_reset

STRATEGIES = ("cma-es", "open-es", "pgpe", "snes")
NUM_TASKS, POPULATION = 2, 8


def _bowl() -> TaskFamily:
    """One step, which pays minus the squared distance from the task's point, near (1, -2)."""
    spec = Spec("bowl", (1,), Box((-9.0,) * 2, (9.0,) * 2), 1)
    no, seen = jnp.zeros((), bool), jnp.ones(1)

    def reset(key, task):
        return jnp.zeros(()), TimeStep(seen, jnp.zeros(()), no, no, seen)

    def advance(key, task, state, action):
        reward = -jnp.sum((action - task) ** 2)
        return state, TimeStep(seen, reward, ~no, no, seen)

    def sample(key):
        return jnp.array([1.0, -2.0]) + 0.1 * jax.random.normal(key, (2,))

    return with_auto_reset(spec, sample, reset, advance)


def _proposer(noise: float = 0.0, uses_theta: bool = True) -> Learner:
    """Acts by theta, ``{"x": [1], "y": scalar}``, with noise."""

    def act(key, theta, phi, memory, seen):
        action = jnp.append(theta["x"], theta["y"]) * uses_theta
        action = action + noise * jax.random.normal(key, (2,))
        return ActorOutput(action, action, jnp.zeros(())), memory

    return Learner(
        init=lambda key: {"x": np.zeros(1, np.float32), "y": np.zeros((), np.float32)},
        begin=lambda key, theta: (),
        adapt=lambda key, theta, phi, chunk: phi,
        predict=lambda theta, phi, chunk: (),
        actor=Actor(lambda theta: (), act, divergence=lambda old, new: jnp.zeros(())),
    )


def _rule(learner: Learner, strategy: str = "snes", learning_rate: float | None = None):
    return outer.evolution(
        fresh(_bowl(), learner, num_adaptations=0, num_streams=1),
        Layout.build(NUM_TASKS * POPULATION),
        outer.evosax_search(strategy, POPULATION, std=0.5, learning_rate=learning_rate),
        fitness=outer.FITNESS["last"],
    )


def _evolve(rule, theta, num_generations):
    def generation(state, key):
        theta, carry, info = rule.update(key, *state)
        return (theta, carry), info

    @jax.jit
    def run(key):
        key_init, key_run = jax.random.split(key)
        keys = jax.random.split(key_run, num_generations)
        return jax.lax.scan(generation, (theta, rule.init(key_init, theta)), keys)

    (theta, _), info = run(jax.random.key(0))
    return theta, info


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_it_finds_the_optimum_of_a_quadratic(strategy):
    learning_rate = 0.1 if strategy in ("open-es", "pgpe") else None
    learner = _proposer()
    rule = _rule(learner, strategy, learning_rate)
    theta, info = jax.device_get(_evolve(rule, learner.init(jax.random.key(0)), 100))
    assert jax.tree.map(jnp.shape, theta) == {"x": (1,), "y": ()}
    np.testing.assert_allclose(theta["x"][0], 1, atol=0.25)
    np.testing.assert_allclose(theta["y"], -2, atol=0.25)
    assert (info["fitness_best"] >= info["fitness_mean"]).all()
    assert (info["env_steps"] == NUM_TASKS * POPULATION).all()
    np.testing.assert_allclose(info["returns"][:, 0], info["fitness_mean"], rtol=1e-5)


def test_all_members_see_the_same_tasks_and_randomness():
    learner = _proposer(noise=1.0, uses_theta=False)
    _, info = _evolve(_rule(learner), learner.init(jax.random.key(0)), 3)
    np.testing.assert_allclose(info["fitness_best"], info["fitness_mean"], rtol=1e-6)
    assert len(np.unique(info["fitness_mean"])) == 3, "the next generation sees others"


def test_a_member_that_diverges_ranks_with_the_least_fit():
    """Half of the first members have no weights that are numbers."""

    def weights(theta, phi):
        return jnp.where(theta["y"] > 0, jnp.nan, theta["y"])

    learner = _proposer()._replace(weights=weights)
    theta, info = jax.device_get(_evolve(_rule(learner), learner.init(jax.random.key(0)), 50))
    assert theta["y"] < -1
    assert all(np.isfinite(leaf).all() for leaf in info.values())


def test_fitness_counts_the_points_after_the_first():
    returns = np.array([8.0, 1.0, 3.0])
    area, last = (jax.jit(outer.FITNESS[name]) for name in ("area", "last"))
    assert area(returns) == 2
    assert last(returns) == 3
    assert area(returns[:1]) == 8


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "evosax", None)
    with pytest.raises(metajax.OptionError, match="make install EXTRAS=evosax"):
        metajax.make("es-dqn", toys.arms())


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"strategy": "open-es", "population_size": 3}, "population_size"),
        ({"strategy": "snes", "learning_rate": 0.1}, "learning_rate"),
        ({"learned": ("epsilon",)}, "learned"),
        ({"learned": ("mix",)}, "learned"),
        ({"learned": (), "explorer_sizes": None, "widths": None}, "learned"),
        ({"target_rate": 1.0}, "target_rate"),
        ({"widths": ()}, "widths"),
    ],
)
def test_what_does_not_fit_is_refused(options, field):
    with pytest.raises(metajax.OptionError, match=field):
        metajax.make("es-dqn", toys.arms(), **options)


def _signature(tree):
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype, leaf.weak_type), tree)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_generation_leaves_the_shape_of_the_state(strategy):
    learner = _proposer()
    rule, key = _rule(learner, strategy), jax.random.key(0)
    theta = jax.eval_shape(learner.init, key)
    carry = jax.eval_shape(rule.init, key, theta)
    after = jax.eval_shape(rule.update, key, theta, carry)
    assert _signature((theta, carry)) == _signature(after[:2])
    assert not any(leaf.weak_type for leaf in jax.tree.leaves(carry))


def _whole_numbers(key, weights):
    """Weights of small whole numbers: their sums are exact in any order."""
    leaves, structure = jax.tree.flatten(weights)
    keys = jax.random.split(key, len(leaves))
    drawn = [
        jax.random.randint(key, leaf.shape, -2, 3).astype(float) if leaf.ndim else leaf
        for key, leaf in zip(keys, leaves, strict=True)
    ]
    return jax.tree.unflatten(structure, drawn)


def _part(weights, like):
    """The corner of the largest network that the small one is."""
    if isinstance(like, dict):
        return {name: _part(weights[name], like[name]) for name in like}
    return weights[tuple(map(slice, like.shape))]


TINY = Spec("any", (2,), Discrete(2), 1)
LARGEST = networks.q_network(TINY, networks.MaskedMLP(5, 3), dueling=True)


@jax.jit
def _masked(num_units, num_layers):
    """Weights of the largest network that use a part of it, and observations."""
    weights = networks.resize(LARGEST.init(jax.random.key(0)), num_units, num_layers)
    observation = jax.random.randint(jax.random.key(2), (7, 2), -3, 4)
    return _whole_numbers(jax.random.key(1), weights), observation


@pytest.mark.parametrize(("num_units", "num_layers"), [(2, 1), (2, 3), (3, 2), (5, 3)])
def test_a_masked_network_is_the_small_one_exactly(num_units, num_layers):
    small = networks.q_network(TINY, networks.MLP((num_units,) * num_layers), dueling=True)
    weights, observation = jax.device_get(_masked(num_units, num_layers))
    cut = _part(weights, jax.eval_shape(small.init, jax.random.key(0)))

    def values_and_gradient(network, weights):
        def total(weights):
            values = network.apply(weights, observation)
            return jnp.sum(values), values

        return jax.grad(total, has_aux=True)(weights)

    @jax.jit
    def both(weights, cut):
        return values_and_gradient(LARGEST, weights), values_and_gradient(small, cut)

    (masked, found), (plain, expected) = jax.device_get(both(weights, cut))
    assert len(np.unique(expected)) > 4
    np.testing.assert_array_equal(found, expected)
    jax.tree.map(np.testing.assert_array_equal, _part(masked, plain), plain)
    outside = jax.tree.map(lambda leaf: np.abs(leaf).sum(), (masked, plain))
    assert sum(jax.tree.leaves(outside[0])) == sum(jax.tree.leaves(outside[1]))


def test_a_small_network_starts_with_weights_of_its_own_scale():
    spec = Spec("any", (40,), Discrete(2), 1)
    largest = networks.q_network(spec, networks.MaskedMLP(200, 2))
    small = networks.q_network(spec, networks.MLP((50, 50)))

    @jax.jit
    def initial(key):
        return small.init(key), networks.resize(largest.init(jax.random.key(1)), 50, 2)

    reference, weights = jax.device_get(initial(jax.random.key(0)))

    def compare(one, other):
        np.testing.assert_allclose(np.std(one), np.std(other), rtol=0.15)

    jax.tree.map(compare, _part(weights, reference), reference)


def _redrawn(tree, scale=1):
    """From a normal distribution, since what starts at zero would hide mistakes."""
    return jax.tree.map(
        lambda leaf: scale * jax.random.normal(jax.random.key(leaf.size), leaf.shape), tree
    )


def _explorer(num_actions=3, **options):
    spec = Spec("any", (2,), Discrete(num_actions), 1)
    return inner.learned_exploration(spec, 100, num_bits=4, **options)


def test_rates_depend_on_order_and_scale_of_values_as_they_should():
    init, exploration = _explorer()

    @jax.jit
    def draw(key):
        keys = jax.random.split(key, 3)
        theta = _redrawn(init(keys[0]), 3)
        return theta, jax.random.normal(keys[1], (50, 2)), jax.random.normal(keys[2], (50, 3))

    theta, observation, values = jax.device_get(draw(jax.random.key(0)))
    visits = np.arange(16, dtype=np.int32)
    program = jax.jit(exploration.rates)

    def rates(values, time=7):
        return jax.device_get(program(theta, visits, np.int32(time), observation, values))

    epsilon, temperature = rates(values)
    assert ((epsilon >= 0) & (epsilon <= 1)).all()
    assert epsilon.max() - epsilon.min() > 0.1
    assert (temperature > 0).all()
    renamed, scaled = rates(values[:, ::-1]), rates(10 * values)
    np.testing.assert_allclose(renamed[0], epsilon, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(scaled[0], epsilon, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(scaled[1], 10 * temperature, rtol=1e-3)
    assert np.isfinite(rates(np.zeros((50, 3), np.float32))).all()
    assert np.abs(rates(values, time=90)[0] - epsilon).max() > 0.01


def test_features_of_a_rate_by_hand():
    values = np.array([[1.0, 4.0, -8.0], [0.0, 0.0, 0.0]])
    scale = np.array([[8.0], [1e-6]])
    features = jax.jit(rate_features)(np.float32(0.25), np.array([0.5, 0.0]), values, scale)
    expected = [[0.25, 0.5, 5 / 8, 2 / 8, -7 / 8], [0.25, 0, 0, 0, 0]]
    np.testing.assert_allclose(features, expected, atol=1e-6)


def test_visits_are_counted_by_the_signs_of_projections():
    _, exploration = _explorer()
    hashed = inner.visit_hash((2,), 4)

    @jax.jit
    def run(key):
        observation = jax.random.normal(key, (5, 3, 2))
        mask = jnp.ones((5, 3), bool)
        chunk = Chunk(observation, *[None] * 4, mask, None)  # type: ignore[arg-type]
        visits = exploration.add(exploration.add(exploration.init(), chunk), chunk)
        buckets = hashed(observation.reshape(-1, 2))
        return visits, buckets, hashed(3 * observation.reshape(-1, 2))

    visits, buckets, of_longer = jax.device_get(run(jax.random.key(0)))
    assert len(np.unique(buckets)) == 3
    np.testing.assert_array_equal(visits, 2 * np.bincount(buckets, minlength=16))
    np.testing.assert_array_equal(of_longer, buckets)


@pytest.mark.parametrize("exploration", ["epsilon-greedy", "boltzmann"])
def test_a_chunk_is_as_probable_as_when_it_was_collected(exploration):
    algorithm = metajax.make(
        "es-dqn",
        toys.arms(),
        num_streams=2,
        num_steps=3,
        lifetime=12,
        learning_starts=6,
        batch_size=4,
        buffer_size=20,
        exploration=exploration,
        widths=(2, 4),
        population_size=2,
        num_tasks=1,
        num_points=2,
    )

    @jax.jit
    def run(key):
        theta = algorithm.learner.init(jax.random.key(0))
        theta["exploration"] = _redrawn(theta["exploration"])
        theta["architecture"] = (jnp.array([0.0, 1.0]), jnp.array([1.0, 0.0]))
        trial = algorithm.adapt(key, theta, jnp.int32(1))
        return trial, algorithm.learner.predict(theta, trial.phi, trial.query).log_prob

    trial, log_prob = jax.device_get(run(jax.random.key(1)))
    assert trial.phi.visits.sum() == 12
    weights = trial.phi.weights
    assert weights["torso"]["num_units"] == 4
    assert weights["torso"]["num_layers"] == 1
    np.testing.assert_allclose(log_prob, trial.query.log_prob, rtol=1e-5)
    assert np.intersect1d(*trial.support.log_prob).size == 0, "epsilon follows the time"
