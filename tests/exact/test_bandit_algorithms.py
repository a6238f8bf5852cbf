"""Classical bandit methods against exact values of small bandits."""

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from batches import alone_and_in_batch

import metajax
from metajax import inner
from metajax.data.continuing import whole_trials
from metajax.inner.classical import bandit, gittins, posterior_samples

NUM_TRIALS = 20000


def arm_statistics(pulls, total):
    arrays: Any = np.array([pulls, total], float)
    return bandit.ArmStatistics(*arrays)


def bandit_family(num_arms, num_pulls):
    return metajax.tasks.make("bernoulli-bandit", num_arms=num_arms, num_pulls=num_pulls)


# --- Exact values by dynamic programming over what the arms have shown ----------------------


@functools.cache
def exact_value(num_arms, num_pulls, policy):
    """Expected total of a trial when all means are uniform.

    Args:
      policy: ``(successes [k], failures [k], worth [k]) -> [k]``, probabilities of the
        arms; ``worth`` is the expected total from here on if the arm is pulled now.
    """

    @functools.cache
    def value(successes, failures):
        if sum(successes) + sum(failures) == num_pulls:
            return 0.0
        worth = np.zeros(num_arms)
        for arm in range(num_arms):
            mean = (1 + successes[arm]) / (2 + successes[arm] + failures[arm])
            one = np.eye(num_arms, dtype=int)[arm]
            won = value(tuple(map(int, successes + one)), failures)
            lost = value(successes, tuple(map(int, failures + one)))
            worth[arm] = mean * (1 + won) + (1 - mean) * lost
        chances = policy(np.array(successes), np.array(failures), worth)
        return float(chances @ worth)

    return value((0,) * num_arms, (0,) * num_arms)


def best(scores, ties="first"):
    """Probabilities of the arms under scores that are computed without rounding trouble."""
    equal = scores > np.max(scores) - 1e-9
    if ties == "first":
        return np.eye(len(scores))[np.argmax(equal)]
    return equal / equal.sum()


def bayes_optimal(successes, failures, worth):
    del successes, failures
    return best(worth)


def greedy(successes, failures, worth, ties="first"):
    del worth
    return best((1 + successes) / (2 + successes + failures), ties)


def epsilon_greedy(successes, failures, worth):
    return 0.7 * greedy(successes, failures, worth) + 0.3 / len(successes)


def ucb(successes, failures, worth):
    del worth
    count = 2 + successes + failures
    time = 1 + np.sum(successes + failures)
    return best((1 + successes) / count + 0.4 * np.sqrt(2 * np.log(time) / count))


def uniform(successes, failures, worth):
    del failures, worth
    return np.full(len(successes), 1 / len(successes))


def thompson(successes, failures, worth):
    """The chance that the first of two arms is better, by quadrature."""
    del worth
    grid = (np.arange(4000) + 0.5) / 4000
    (a, other_a), (b, other_b) = 1 + successes, 1 + failures
    beta = scipy.stats.beta
    chance = np.mean(beta.pdf(grid, a, b) * beta.cdf(grid, other_a, other_b))
    return np.array([chance, 1 - chance])


def gittins_index(successes, failures, worth):
    del worth
    return best(gittins.bernoulli_indices(8, 0.9)[successes, failures])


CASES = [
    ("random", {}, uniform, 2, 6),
    ("greedy", {}, greedy, 3, 6),
    ("greedy", {"ties": "random"}, functools.partial(greedy, ties="random"), 3, 6),
    ("epsilon-greedy", {"exploration": 0.3}, epsilon_greedy, 3, 6),
    ("ucb1", {"exploration": 0.4}, ucb, 2, 8),
    ("gittins", {"discount": 0.9}, gittins_index, 2, 8),
    ("thompson-sampling", {}, thompson, 2, 6),
]


@pytest.mark.parametrize(("name", "options", "policy", "num_arms", "num_pulls"), CASES)
def test_expected_return_is_exact(name, options, policy, num_arms, num_pulls):
    family = bandit_family(num_arms, num_pulls)
    algorithm = metajax.make(name, family, **options)
    evaluation = metajax.evaluate(algorithm, jax.random.key(0), (), num_tasks=NUM_TRIALS)
    assert evaluation.axis == "episodes"
    assert evaluation.returns.shape == (NUM_TRIALS, num_pulls)
    total = evaluation.returns.sum(axis=1)
    error = total.std() / np.sqrt(NUM_TRIALS)
    expected = exact_value(num_arms, num_pulls, policy)
    assert abs(total.mean() - expected) < 3.5 * error
    assert expected <= exact_value(num_arms, num_pulls, bayes_optimal) + 1e-12


def test_nothing_beats_the_bayes_optimum():
    """Many draws too, whose own expectation has no simple form."""
    optimum = exact_value(2, 6, bayes_optimal)
    algorithm = metajax.make("optimistic-thompson-sampling", bandit_family(2, 6), num_samples=5)
    total = metajax.evaluate(algorithm, jax.random.key(0), (), num_tasks=NUM_TRIALS).returns.sum(1)
    error = total.std() / np.sqrt(NUM_TRIALS)
    assert exact_value(2, 6, thompson) + 3 * error < total.mean() < optimum + 3 * error


# --- Gittins indices ---------------------------------------------------------------------


def test_gittins_indices_of_the_literature():
    """Gittins, Glazebrook and Weber (2011), tables of the Bernoulli reward process."""
    table = gittins.bernoulli_indices(4, 0.9, margin=100)
    known = {(0, 0): 0.7029, (1, 0): 0.8001, (0, 1): 0.5001, (1, 1): 0.6346, (0, 2): 0.3796}
    for counts, index in known.items():
        assert table[counts] == pytest.approx(index, abs=1e-4)
    table = gittins.bernoulli_indices(4, 0.99)
    for counts, index in {(0, 0): 0.8699, (1, 0): 0.9102, (0, 1): 0.7005}.items():
        assert table[counts] == pytest.approx(index, abs=1e-4)


@pytest.mark.parametrize("start", [(0, 0), (2, 1), (0, 3)])
def test_gittins_indices_are_those_of_the_restart_problem(start):
    """Katehakis and Veinott (1987): ``(1 - g) V`` where playing may begin anew at any time."""
    discount, depth = 0.8, 80
    won, lost = np.add.outer(np.arange(depth), start[0] * np.ones(depth)), np.arange(depth)
    mean = (1 + won) / (2 + won + lost + start[1])
    play = value = np.zeros((depth + 1, depth + 1))
    for _ in range(120):
        play = mean * (1 + discount * value[1:, :-1]) + (1 - mean) * discount * value[:-1, 1:]
        value = np.pad(np.maximum(play, play[0, 0]), (0, 1))
    index = gittins.bernoulli_indices(4, discount, margin=80)[start]
    assert index == pytest.approx((1 - discount) * play[0, 0], abs=2e-4)


def test_gittins_indices_without_a_future_are_means():
    table = gittins.bernoulli_indices(3, 0.0, margin=1)
    np.testing.assert_allclose(table[[0, 1, 0, 2], [0, 0, 1, 0]], [1 / 2, 2 / 3, 1 / 3, 3 / 4])
    assert np.isnan(table[1:, 2]).all()


@pytest.mark.parametrize(("discount", "tolerance"), [(0.99, 1e-4), (0.9999, 3e-3)])
def test_looking_further_ahead_changes_little(discount, tolerance):
    table = gittins.bernoulli_indices(10, discount, num_incomes=200)
    further = gittins.bernoulli_indices(10, discount, num_incomes=200, margin=1500)
    assert np.nanmax(np.abs(table - further)) < tolerance


def test_arms_beyond_the_table_are_rated_by_their_mean():
    score = bandit.index_table(gittins.bernoulli_indices(3, 0.9, margin=100))
    statistics = arm_statistics([0, 2, 3], [0, 1, 2])
    np.testing.assert_allclose(jax.jit(score)((), statistics), [0.7029, 0.6346, 0.6], atol=1e-4)


# --- Decisions by hand --------------------------------------------------------------------


def test_scores_by_hand():
    statistics = arm_statistics([0, 4, 2], [0, 3, 0])
    np.testing.assert_allclose(bandit.posterior_mean((), statistics), [1 / 2, 4 / 6, 1 / 4])
    # The seventh pull of the trial.
    width = np.sqrt(2 * np.log(7) / np.array([2, 6, 4]))
    score = jax.jit(bandit.upper_confidence(0.5))((), statistics)
    np.testing.assert_allclose(score, [1 / 2, 4 / 6, 1 / 4] + 0.5 * width)


def decisions(name, pulls, total, num_keys=4000, **options):
    """Actions and log-probabilities of many decisions with the same statistics."""
    learner = metajax.make(name, bandit_family(len(pulls), 8), **options).learner

    def decide(key):
        memory = arm_statistics(pulls, total)
        seen = metajax.ActorInput(
            jnp.ones(1), jnp.array(-1, jnp.int32), jnp.zeros(()), jnp.ones((), bool)
        )
        output, _ = learner.actor.act(learner.actor.noise(key), (), (), memory, seen)
        return output.action, output.log_prob

    keys = jax.random.split(jax.random.key(0), num_keys)
    return jax.device_get(jax.jit(jax.vmap(decide))(keys))


@pytest.mark.parametrize("name", ["greedy", "ucb1", "gittins"])
def test_ties(name):
    pulls, total = [4, 2, 2], [0, 2, 2]
    action, log_prob = decisions(name, pulls, total)
    assert (action == 1).all()
    np.testing.assert_allclose(log_prob, 0, atol=1e-12)
    action, log_prob = decisions(name, pulls, total, ties="random")
    np.testing.assert_allclose(np.bincount(action, minlength=3) / 4000, [0, 0.5, 0.5], atol=0.03)
    np.testing.assert_allclose(log_prob, np.log(0.5))


def test_exploration():
    action, log_prob = decisions("epsilon-greedy", [4, 2], [0, 2], exploration=0.2)
    np.testing.assert_allclose(np.mean(action == 1), 0.9, atol=0.02)
    np.testing.assert_allclose(log_prob, np.log(np.where(action == 1, 0.9, 0.1)))


def test_the_most_probable_draw(key):
    statistics = arm_statistics([3, 1, 0], [1, 1, 0])
    score, noise = bandit.most_probable_draw(3, num_samples=4)
    posterior = statistics.successes, statistics.failures

    @jax.jit
    @jax.vmap
    def draw(key):
        log_draws = posterior_samples.log_beta(noise(key), *posterior)[0]
        return log_draws, score(noise(key), statistics)

    for log_draws, scores in zip(*jax.device_get(draw(jax.random.split(key, 20))), strict=True):
        draws = np.exp(log_draws)
        density = scipy.stats.beta.logpdf(draws, *posterior)
        chosen = draws[np.argmax(density.sum(axis=1))]
        np.testing.assert_allclose(np.exp(scores), chosen, rtol=1e-6)


@jax.jit
def gamma_draws(key, concentration):
    return jnp.exp(
        posterior_samples.log_gamma(posterior_samples.gamma_noise(key, (20000,)), concentration)
    )


@pytest.mark.parametrize("concentration", [0.2, 1.0, 3.5, 80.0])
def test_gamma_draws(concentration, key):
    draws = gamma_draws(key, concentration)
    distance = scipy.stats.kstest(draws, scipy.stats.gamma(concentration).cdf).statistic
    assert distance < 1.95 / np.sqrt(20000)  # passed by 999 of 1000 right samplers


def test_gamma_draws_of_a_tiny_concentration_stay_finite(key):
    @jax.jit
    def draw(key):
        noise = posterior_samples.gamma_noise(key, (50, 4))
        return posterior_samples.dirichlet(noise, jnp.full(4, 1e-5))

    draws = jax.device_get(draw(key))
    np.testing.assert_allclose(draws.sum(axis=-1), 1)
    assert np.isfinite(draws).all()


# --- As a learner like any other -----------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options"),
    [("ucb1", {}), ("random", {}), ("epsilon-greedy", {}), ("greedy", {"ties": "random"})],
)
def test_predictions_repeat_the_decisions(name, options, key):
    family = bandit_family(3, 8)
    learner = metajax.make(name, family, **options).learner
    source = whole_trials(family, learner, 5, 8)

    @jax.jit
    def run(key):
        _, chunk = source.next(key, (), (), family.sample(key), ())
        return chunk, learner.predict((), (), chunk)

    chunk, outputs = jax.device_get(run(key))
    assert outputs.distribution.shape == (8, 5, 3)
    np.testing.assert_allclose(outputs.log_prob, chunk.log_prob)
    chances = np.exp(outputs.distribution)
    np.testing.assert_allclose(chances.sum(axis=-1), 1)
    np.testing.assert_allclose(outputs.entropy, scipy.stats.entropy(chances, axis=-1), atol=1e-12)


def test_posterior_sampling_has_no_log_probabilities(key):
    family = bandit_family(3, 8)
    learner = metajax.make("thompson-sampling", family).learner
    source = whole_trials(family, learner, 2, 8)

    @jax.jit
    def run(key):
        _, chunk = source.next(key, (), (), family.sample(key), ())
        return chunk.log_prob, learner.predict((), (), chunk)[:3]

    log_prob, outputs = run(key)
    assert np.isnan(log_prob).all()
    assert all(np.isnan(leaf).all() for leaf in outputs)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("ucb1", marks=pytest.mark.further),
        pytest.param("gittins", marks=pytest.mark.further),
        "optimistic-thompson-sampling",
    ],
)
def test_one_task_alone_equals_it_in_a_batch(name, key):
    alone, batched = alone_and_in_batch(metajax.make(name, bandit_family(3, 8)), key)
    np.testing.assert_array_equal(batched.action, alone.action)
    np.testing.assert_array_equal(batched.reward, alone.reward)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("thompson-sampling", marks=pytest.mark.further),
        "optimistic-thompson-sampling",
    ],
)
def test_draws_ahead_are_draws_pull_by_pull(name, key, monkeypatch):
    """Where the noise of a trial would take too much memory it is drawn when it is needed."""
    family = bandit_family(3, 8)

    def trial():
        algorithm = metajax.make(name, family)
        shape = jax.tree.leaves(jax.eval_shape(algorithm.learner.actor.noise, key)[0])[0].shape
        run = jax.jit(lambda key: algorithm.adapt(key, (), family.sample(key)).query)
        return run(key), shape

    (ahead, large), _ = trial(), monkeypatch.setattr(bandit, "_NOISE_BYTES", 0)
    by_pull, small = trial()
    assert len(large) > len(small) == 0
    np.testing.assert_array_equal(ahead.action, by_pull.action)
    np.testing.assert_array_equal(ahead.reward, by_pull.reward)


def test_a_large_posterior_sample_is_not_drawn_ahead():
    family = bandit_family(50, 500)
    method = metajax.make("optimistic-thompson-sampling", family, num_samples=20)
    noise = jax.eval_shape(method.learner.actor.noise, jax.random.key(0))[0]
    assert jax.tree.leaves(noise)[0].size == 1


def test_a_sweep_is_a_vmap(key):
    family = bandit_family(3, 8)
    values = [0.0, 0.3, 2.0]

    @jax.jit
    def run(key):
        def actions(exploration):
            algorithm = metajax.make("ucb1", family, exploration=exploration)
            return algorithm.adapt(key, (), family.sample(key)).query.action

        return jax.vmap(actions)(jnp.array(values)), [actions(value) for value in values]

    rows, alone = jax.device_get(run(key))
    np.testing.assert_array_equal(rows, alone)
    assert len({tuple(map(int, row[:, 0])) for row in rows}) > 1


def test_training_only_reports(key):
    algorithm = metajax.make("ucb1", bandit_family(3, 8), num_tasks=4)
    state, history = metajax.train(algorithm, key, 2)
    assert jax.tree.leaves(state) == []
    assert history["returns"].shape == (2, 8)
    assert history["env_steps"].tolist() == [32, 32]
    assert ((history["returns"] >= 0) & (history["returns"] <= 1)).all()


def test_the_number_of_episodes_is_an_option(key):
    family = bandit_family(3, 8)
    algorithm = metajax.make("gittins", family, num_episodes=5)
    trial = jax.eval_shape(lambda key: algorithm.adapt(key, (), family.sample(key)), key)
    assert trial.returns.shape == (5,)


def test_ucb1_is_told_what_other_sums_to_expect(key):
    """Where it expects less than every arm pays it keeps to the first that it tries."""
    family = metajax.tasks.make("gaussian-bandit", num_arms=5, num_pulls=100, prior_mean=10.0)

    def total(**options):
        algorithm = metajax.make("ucb1", family, exploration=1.0, **options)
        return metajax.evaluate(algorithm, key, (), num_tasks=200).returns.sum(1).mean()

    sample = jax.jit(jax.vmap(family.sample))
    means = np.asarray(sample(jax.random.split(key, 200)).means)
    gained = 100 * (means.max(axis=1).mean() - 10)
    assert total() < 1000 + 0.1 * gained
    assert total(prior_mean=10.0) > 1000 + 0.7 * gained


def test_a_random_policy_is_made_for_every_family(key):
    """It plans nothing, so that a held-out family may have longer episodes and other states."""
    trained, longer = (
        metajax.tasks.make("gridnavi", size=3, episode_length=length) for length in (4, 6)
    )
    evaluation = metajax.evaluate(metajax.make("random", trained), key, (), longer, num_tasks=3)
    assert np.isfinite(evaluation.returns).all()


# --- Errors --------------------------------------------------------------------------------

BANDIT_METHODS = ["gittins", "optimistic-thompson-sampling", "thompson-sampling", "ucb1"]


@pytest.mark.parametrize(
    ("name", "family"),
    list(
        itertools.product(
            BANDIT_METHODS, ["point-navigation", "eleven-armed-bandit", "tabular-mdp"]
        )
    ),
)
def test_families_that_are_no_bandits(name, family):
    with pytest.raises(metajax.OptionError) as caught:
        metajax.make(name, metajax.tasks.make(family))
    # The arms of eleven-armed-bandit are not independent.
    lacks = family != "tabular-mdp"
    said = (
        f" with tabular in its spec; that of {family} has none" if lacks else f"; {family} is none"
    )
    assert str(caught.value) == f"family: {name} needs a bandit family{said}"


@pytest.mark.parametrize("name", ["gittins", "optimistic-thompson-sampling", "thompson-sampling"])
def test_bandits_that_pay_other_sums(name):
    with pytest.raises(metajax.OptionError, match="whose arms pay 1 or nothing"):
        metajax.make(name, metajax.tasks.make("gaussian-bandit"))


def test_gittins_indices_end_with_the_pulls_they_were_computed_for(key):
    method, longer = metajax.make("gittins", bandit_family(3, 5)), bandit_family(3, 8)
    with pytest.raises(metajax.OptionError) as caught:
        metajax.evaluate(method, key, (), longer, num_tasks=2)
    assert "has trials of 8 pulls; allowed: 5 at most" in str(caught.value)
    shorter = metajax.evaluate(method, key, (), bandit_family(3, 4), num_tasks=2)
    assert shorter.returns.shape == (2, 4)
    method = metajax.make("gittins", bandit_family(3, 5), num_episodes=5)
    assert metajax.evaluate(method, key, (), longer, num_tasks=2).returns.shape == (2, 5)


def test_tie_rules_that_do_not_exist():
    family = bandit_family(2, 4)
    rule = bandit.bandit_rule(2, bandit.posterior_mean)
    with pytest.raises(metajax.OptionError, match='ties: "last" is not possible'):
        inner.scoring_learner(family.spec, rule, ties="last")


def test_random_needs_discrete_actions():
    with pytest.raises(metajax.OptionError, match="random needs a family of discrete actions"):
        metajax.make("random", metajax.tasks.make("point-navigation"))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ucb1", {"exploration": -0.1}),
        ("epsilon-greedy", {"exploration": 1.1}),
        ("gittins", {"discount": 1.0}),
        ("optimistic-thompson-sampling", {"num_samples": 0}),
        ("ucb1", {"ties": "last"}),
        ("ucb1", {"prior_mean": "none"}),
        ("ucb1", {"num_tasks": 0}),
    ],
)
def test_impossible_options(name, options):
    (field,) = options
    with pytest.raises(metajax.OptionError, match=field):
        metajax.make(name, bandit_family(2, 4), **options)


def test_a_traced_discount():
    def build(discount):
        return metajax.make("gittins", bandit_family(2, 4), discount=discount).learner.actor.memory(
            ()
        )

    with pytest.raises(metajax.OptionError, match="discount: is traced"):
        jax.jit(build)(0.9)
