"""Classical methods for tabular MDPs against numpy, brute force and arithmetic by hand."""

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from batches import alone_and_in_batch

import metajax
from metajax.core.types import ActorInput
from metajax.evaluation import optimal_returns
from metajax.inner.classical import planning, tabular
from metajax.tasks.tabular.tabular_mdp import TabularTask

PLANNERS = ["bayes-bonus", "beb", "epsilon-greedy", "greedy", "opsrl", "psrl", "ucrl2"]
NUM_STATES, NUM_ACTIONS, HORIZON = 3, 2, 4


@pytest.fixture(scope="module")
def family():
    return metajax.tasks.make(
        "tabular-mdp",
        num_states=NUM_STATES,
        num_actions=NUM_ACTIONS,
        episode_length=HORIZON,
        num_episodes=5,
    )


def random_model(seed, num_states, num_actions):
    rng = np.random.default_rng(seed)
    transition: Any = rng.dirichlet(np.ones(num_states), size=(num_states, num_actions))
    reward: Any = rng.normal(size=(num_states, num_actions))
    return TabularTask(transition, reward)


# --- Planning ------------------------------------------------------------------------------


def plan(transition, reward, horizon):
    """Backward induction, one number at a time: ``[H, S, A]``."""
    num_states, num_actions = reward.shape
    value, result = [0.0] * num_states, []
    for _ in range(horizon):
        worth = [
            [
                reward[s, a] + sum(transition[s, a, n] * value[n] for n in range(num_states))
                for a in range(num_actions)
            ]
            for s in range(num_states)
        ]
        value = [max(row) for row in worth]
        result.insert(0, worth)
    return np.array(result)


@functools.partial(jax.jit, static_argnums=1)
def backward_induction(model, horizon):
    return planning.backward_induction(planning.expected(model), len(model.reward), horizon)


def test_backward_induction_in_numpy():
    model = random_model(0, 4, 3)
    planned = backward_induction(model, 5)
    np.testing.assert_allclose(planned, plan(*model, 5), rtol=1e-12)


def test_backward_induction_is_the_best_of_all_policies():
    """Two states, two actions, three steps: 64 policies that depend on time and state."""
    model = random_model(1, 2, 2)
    transition, reward = model
    returns = []
    for choices in itertools.product(range(2), repeat=6):
        occupancy, total = np.array([1.0, 0.0]), 0.0
        for action in np.reshape(choices, (3, 2)):
            total += occupancy @ reward[[0, 1], action]
            occupancy = occupancy @ transition[[0, 1], action]
        returns.append(total)
    planned = backward_induction(model, 3)
    assert planned.shape == (3, 2, 2)
    assert np.max(planned[0, 0]) == pytest.approx(max(returns), rel=1e-12)


@jax.jit
def optimistic_backup(model, reward_bonus, radius, value):
    return planning.optimistic(model, reward_bonus, radius)(value)


@pytest.mark.parametrize("radius", [0.0, 0.3, 1.1, 3.0])
def test_the_optimistic_backup_is_a_linear_program(radius):
    """``max p' V`` over probabilities p' within an L1 distance of p."""
    model = random_model(2, 4, 2)
    value = np.array([0.3, -1.0, 2.0, 0.4])
    radii = np.full((4, 2), radius)
    backup = np.asarray(optimistic_backup(model, 0.1 + radii, radii, value))
    transition, reward = model
    for state, action in itertools.product(range(4), range(2)):
        # p' = p + gain - loss with gains and losses that sum to the radius at most.
        solution = scipy.optimize.linprog(
            np.concatenate([-value, value]),
            A_ub=np.concatenate([np.ones((1, 8)), np.concatenate([-np.eye(4), np.eye(4)], 1)]),
            b_ub=np.concatenate([[radius], transition[state, action]]),
            A_eq=np.concatenate([np.ones((1, 4)), -np.ones((1, 4))], axis=1),
            b_eq=[0.0],
        )
        expected = transition[state, action] @ value - solution.fun
        expected += reward[state, action] + 0.1 + radius
        assert backup[state, action] == pytest.approx(expected, abs=1e-9)


def test_the_most_hopeful_backup():
    models = [random_model(seed, 3, 2) for seed in range(4)]
    value = np.array([0.3, -1.0, 2.0])
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *models)
    expected = np.max([model.reward + model.transition @ value for model in models], axis=0)
    backup = jax.jit(lambda models: planning.most_hopeful(models)(jnp.asarray(value)))(stacked)
    np.testing.assert_allclose(backup, expected)


# --- Beliefs -------------------------------------------------------------------------------


def seen(state, last_action, last_reward, start):
    observation, last_action = np.eye(NUM_STATES)[state], np.int32(last_action)
    fields: Any = observation, last_action, np.float64(last_reward), np.bool(start)
    return ActorInput(*fields)


def test_counts_by_hand(family):
    """0 -a1-> 2 -a0-> 2, then the end of the episode after a1, and a new one."""
    learner = metajax.make("greedy", family).learner
    inputs = [seen(0, -1, 0.0, True), seen(2, 1, 5.0, False), seen(2, 0, 7.0, False)]
    inputs.append(seen(0, 1, 11.0, True))

    @jax.jit
    def run(inputs):
        def act(memory, one):
            noise = learner.actor.noise(jax.random.key(0))
            output, memory = learner.actor.act(noise, (), (), memory, one)
            return memory, output

        return jax.lax.scan(act, learner.actor.memory(()), inputs)[0]

    memory = run(jax.tree.map(lambda *leaves: np.stack(leaves), *inputs))
    visits, reward_sum = np.zeros((3, 2)), np.zeros((3, 2))
    visits[[0, 2, 2], [1, 0, 1]] = 1
    reward_sum[[0, 2, 2], [1, 0, 1]] = 5, 7, 11
    transitions = np.zeros((3, 2, 3))
    transitions[[0, 2], [1, 0], [2, 2]] = 1
    np.testing.assert_array_equal(memory.counts.visits, visits)
    np.testing.assert_array_equal(memory.counts.reward_sum, reward_sum)
    np.testing.assert_array_equal(memory.counts.transitions, transitions)
    assert (memory.state, memory.time) == (0, 0)


def some_counts():
    visits = np.array([[2.0, 0.0], [1.0, 0.0], [0.0, 4.0]])
    reward_sum = np.array([[3.0, 0.0], [-1.0, 0.0], [0.0, 8.0]])
    transitions = np.zeros((3, 2, 3))
    transitions[0, 0] = 1, 0, 1
    transitions[1, 0] = 0, 0, 1
    transitions[2, 1] = 0, 3, 0
    fields: Any = visits, reward_sum, transitions
    return tabular.Counts(*fields)


def test_posterior_means_by_hand():
    prior = tabular.Prior(mean=1.0, precision=2.0, noise_precision=0.5, dirichlet=0.5)
    model = jax.device_get(jax.jit(tabular.mean_model)(prior, some_counts()))
    # (precision * mean + noise * sum) / (precision + noise * visits)
    expected = [[(2 + 1.5) / 3, 1], [(2 - 0.5) / 2.5, 1], [1, (2 + 4) / 4]]
    np.testing.assert_allclose(model.reward, expected)
    np.testing.assert_allclose(model.transition[0, 0], np.array([1.5, 0.5, 1.5]) / 3.5)
    np.testing.assert_allclose(model.transition[2, 1], np.array([0.5, 3.5, 0.5]) / 4.5)
    np.testing.assert_allclose(model.transition[0, 1], np.ones(3) / 3)


def test_sampled_models_have_the_moments_of_the_posterior(key):
    prior = tabular.Prior(mean=1.0, precision=2.0, noise_precision=0.5, dirichlet=0.5)
    counts, num_draws = some_counts(), 20000

    @jax.jit
    def run(key):
        keys = jax.random.split(key, num_draws)
        draws = jax.vmap(lambda key: tabular.sampled_model(key, prior, counts))(keys)
        return draws, tabular.mean_model(prior, counts), tabular.reward_belief(prior, counts)

    draws, mean, (_, precision) = jax.device_get(run(key))
    np.testing.assert_allclose(draws.reward.mean(0), mean.reward, atol=5 * 0.71 / num_draws**0.5)
    rtol = 5 * (2 / num_draws) ** 0.5
    np.testing.assert_allclose(draws.reward.var(0), 1 / precision, rtol=rtol)
    total = (0.5 + counts.transitions).sum(-1, keepdims=True)
    variance = mean.transition * (1 - mean.transition) / (1 + total)
    np.testing.assert_allclose(
        draws.transition.mean(0), mean.transition, atol=5 * float(variance.max() / num_draws) ** 0.5
    )
    np.testing.assert_allclose(draws.transition.var(0), variance, rtol=0.06)
    np.testing.assert_allclose(draws.transition.sum(-1), 1)


# --- Methods -------------------------------------------------------------------------------


def bonus(name, visits):
    """What each method adds to the mean rewards under its default options."""
    if name == "beb":
        return 1.0 / (1 + visits)
    if name == "bayes-bonus":
        return 0.5 / np.sqrt(1 + visits)
    return np.zeros_like(visits)


def reference_values(name, visits, reward_sum, transitions):
    """The action values that a method plans with, in numpy."""
    vague = name in ("greedy", "ucrl2")
    precision = 1e-4 if vague else 1.0
    concentration = {"greedy": 1e-4, "ucrl2": 1e-5}.get(name, 1.0)
    reward = reward_sum / (precision + visits) + bonus(name, visits)
    weight = transitions + concentration
    transition = weight / weight.sum(-1, keepdims=True)
    if name != "ucrl2":
        return plan(transition, reward, HORIZON)
    tried, time = np.maximum(1, visits), 1 + visits.sum()
    reward += 0.05 * np.sqrt(7 * np.log(2 * 3 * 2 * time / 0.05) / (2 * tried))
    arrived = np.maximum(1, transitions.sum(-1))
    radius = 0.05 * np.sqrt(14 * 3 * np.log(2 * 2 * time / 0.05) / arrived)
    value, result = np.zeros(NUM_STATES), []
    for _ in range(HORIZON):
        worth = np.zeros((NUM_STATES, NUM_ACTIONS))
        for state, action in np.ndindex(*worth.shape):
            chance = transition[state, action].copy()
            order = np.argsort(-value)
            chance[order[0]] = min(1, chance[order[0]] + radius[state, action] / 2)
            for worst in order[::-1]:
                chance[worst] = max(0, 1 - (chance.sum() - chance[worst]))
            worth[state, action] = reward[state, action] + chance @ value
        value = worth.max(-1)
        result.insert(0, worth)
    return np.array(result)


@pytest.mark.parametrize("name", ["bayes-bonus", "beb", "greedy", "ucrl2"])
def test_every_decision_of_a_trial_in_numpy(name, family, key):
    algorithm = metajax.make(name, family, ties="first")

    @jax.jit
    def run(key):
        return algorithm.adapt(key, (), family.sample(key), num_streams=3).query

    chunk = jax.device_get(run(key))
    states = np.argmax(chunk.observation, axis=-1)
    for stream in range(3):
        visits, reward_sum = np.zeros((3, 2)), np.zeros((3, 2))
        transitions, plans = np.zeros((3, 2, 3)), []
        for step in range(len(states)):
            time = step % HORIZON
            if time == 0:
                plans.append(reference_values(name, visits, reward_sum, transitions))
            state, action = states[step, stream], int(chunk.action[step, stream])
            scores = plans[-1][time, state]
            assert scores[action] > scores.max() - 1e-9
            if np.ptp(scores) < 1e-12:
                assert action == 0
            visits[state, action] += 1
            reward_sum[state, action] += chunk.reward[step, stream]
            if time < HORIZON - 1:
                transitions[state, action, states[step + 1, stream]] += 1


def test_bandits_of_gaussian_rewards(key):
    """A bandit is a process of one state: greedy takes the best mean so far, then."""
    family = metajax.tasks.make("gaussian-bandit", num_arms=3, num_pulls=30)
    algorithm = metajax.make("greedy", family)
    run = jax.jit(lambda key: algorithm.adapt(key, (), family.sample(key)).query)
    chunk = jax.device_get(run(key))
    total, pulls = np.zeros(3), np.zeros(3)
    for action, reward in zip(chunk.action[:, 0], chunk.reward[:, 0], strict=True):
        means = total / (1e-4 + pulls)
        assert means[action] == pytest.approx(means.max())
        total[action] += reward
        pulls[action] += 1


@pytest.fixture(scope="module")
def optimum(family):
    """Mean optimal return of the tasks of ``test_evaluation``."""
    with jax.enable_x64(True):
        optimal = optimal_returns(jax.random.key(0), family, 1000)
    assert optimal is not None
    return optimal.mean()


@pytest.mark.parametrize(
    "name",
    [
        *("epsilon-greedy", "opsrl", "psrl"),
        # Their decisions are checked one by one above.
        *(
            pytest.param(name, marks=pytest.mark.further)
            for name in ("bayes-bonus", "beb", "greedy", "ucrl2")
        ),
    ],
)
def test_evaluation(name, family, optimum, key):
    algorithm = metajax.make(name, family)
    evaluation = metajax.evaluate(algorithm, key, (), num_tasks=1000)
    assert evaluation.returns.shape == (1000, 5)
    assert evaluation.env_steps == 1000 * 5 * HORIZON
    mean, error = evaluation.mean(), evaluation.returns.std(axis=0) / np.sqrt(1000)
    assert (mean < optimum).all()
    assert mean[-1] > family.spec.random_return + 5 * error[-1], "it has learnt nothing"


@pytest.mark.parametrize("name", PLANNERS)
def test_planning_is_a_branch_that_is_taken_once_an_episode(name, family, key):
    """Mapped over tasks, the condition stays one and does not become a selection."""
    algorithm = metajax.make(name, family)
    tasks = jax.eval_shape(jax.vmap(family.sample), jax.random.split(key, 3))

    def run(keys, tasks):
        return jax.vmap(lambda key, task: algorithm.adapt(key, (), task).returns)(keys, tasks)

    program = jax.make_jaxpr(run)(jax.random.split(key, 3), tasks)
    conditions = [one for one in equations(program.jaxpr) if one.primitive.name == "cond"]
    assert {one.invars[0].aval.shape for one in conditions} == {()}


def equations(program):
    """All equations of a jaxpr, those inside others too."""
    for equation in program.eqns:
        yield equation
        for leaf in jax.tree.leaves(equation.params, is_leaf=lambda leaf: hasattr(leaf, "eqns")):
            if hasattr(leaf, "eqns"):
                yield from equations(leaf)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("greedy", marks=pytest.mark.further),
        pytest.param("psrl", marks=pytest.mark.further),
        "ucrl2",
    ],
)
def test_one_task_alone_equals_it_in_a_batch(name, family, key):
    alone, batched = alone_and_in_batch(metajax.make(name, family), key)
    np.testing.assert_array_equal(batched.action, alone.action)
    np.testing.assert_allclose(batched.reward, alone.reward)


def test_a_sweep_is_a_vmap(family, key):

    @jax.jit
    def run(key):
        def actions(bonus_scale, prior_mean):
            algorithm = metajax.make("beb", family, bonus_scale=bonus_scale, prior_mean=prior_mean)
            return algorithm.adapt(key, (), family.sample(key)).query.action

        rows = jax.vmap(actions)(jnp.array([0.0, 1.0]), jnp.array([-2.0, 2.0]))
        return rows, [actions(0.0, -2.0), actions(1.0, 2.0)]

    rows, alone = jax.device_get(run(key))
    np.testing.assert_array_equal(rows, alone)
    assert (rows[0] != rows[1]).any()


@pytest.mark.parametrize("name", PLANNERS)
def test_families_of_the_wrong_kind(name):
    with pytest.raises(metajax.OptionError) as caught:
        metajax.make(name, metajax.tasks.make("point-navigation"))
    message = (
        f"family: {name} needs a family of bandits or tabular MDPs with tabular in its spec; "
        "that of point-navigation has none"
    )
    assert str(caught.value) == message


@pytest.mark.parametrize("name", PLANNERS)
def test_held_out_families_that_it_has_not_planned_for(name, family, key):
    longer = metajax.tasks.make(
        "tabular-mdp", num_states=NUM_STATES, num_actions=NUM_ACTIONS, episode_length=HORIZON + 1
    )
    with pytest.raises(metajax.OptionError) as caught:
        metajax.evaluate(metajax.make(name, family), key, (), longer, num_tasks=2)
    assert f"has episode_length {HORIZON + 1}; allowed: {HORIZON}" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("psrl", {"dirichlet_prior": 0.0}),
        ("psrl", {"prior_precision": 0.0}),
        ("psrl", {"noise_precision": -1.0}),
        ("opsrl", {"num_samples": 0}),
        ("ucrl2", {"confidence": 0.0}),
        ("beb", {"bonus_scale": -1.0}),
        ("bayes-bonus", {"bonus_scale": -1.0}),
    ],
)
def test_impossible_options(name, options, family):
    (field,) = options
    with pytest.raises(metajax.OptionError, match=field):
        metajax.make(name, family, **options)
