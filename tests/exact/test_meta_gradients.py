"""Meta-gradients of every surrogate against the objective that it is right for.

V is the expected return, rate the size of the inner step per unit of grad V.

- expected update, ``V(theta + rate grad V(theta))``: ``dice`` exactly; ``score``
  and ``lvc`` with the Hessian that ``test_surrogates`` derives for them.
- sampled update, ``E over support of V(theta + rate g(support))``: ``score`` with
  the ``emaml`` credit exactly, ``score`` alone not.
"""

import itertools

import jax
import jax.numpy as jnp
import mdp as m
import numpy as np
import optax
import pytest

from metajax import outer
from metajax.core.layout import Layout
from metajax.core.types import ReplayKeys
from metajax.inner import SURROGATES, DescentState
from metajax.outer.gradient.backprop import RunningMean, _credit

INNER_LR = 2.4
RATE = INNER_LR / m.LENGTH  # the inner loss is a mean over steps
KEYS = ReplayKeys(*jax.random.key_data(jax.random.split(jax.random.key(0))))


def _objective(mdp, learner, num_adaptations=1, emaml=False):
    problem = m.problem_of(mdp, learner, num_adaptations, 1)
    objective = outer.post_adaptation(problem)
    return outer.with_sampling_credit(objective, problem) if emaml else objective


def _annotated(learner, chunk):
    return learner.actor.annotate(None, DescentState(jnp.asarray(m.THETA), ()), chunk)


def _meta_gradient(objective, learner, support, query, baseline=None):
    """``-T`` times the gradient of the objective for one support and query."""
    query = _annotated(learner, query)
    item = outer.TrialItem(support, query, KEYS, (), jnp.zeros(()))
    if baseline is not None:
        mean = RunningMean(jnp.asarray(baseline), jnp.ones(()))
        row = jax.tree.map(lambda leaf: leaf[None], query)
        item = item._replace(credit=_credit(row, mean)[0])
    gradient = jax.grad(objective.loss, has_aux=True)(jnp.asarray(m.THETA), item)[0]
    return -m.LENGTH * gradient


def _stack(*chunks):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *chunks)


def test_episodes_of_different_lengths_count_alike():
    """Without adaptation the meta-gradient is grad V / T, however early episodes end.

    Here action 1 in state 1 ends the episode. What follows is padding: it is
    enumerated like the rest and has to cancel out.
    """
    mdp, theta = m.STOCHASTIC, jnp.asarray(m.THETA)
    learner = m.tabular_learner(optax.sgd(INNER_LR))
    objective = _objective(mdp, learner, num_adaptations=0)
    trajectories = m.enumerate_trajectories(mdp)
    ends = (trajectories.state == 1) & (trajectories.action == 1)
    alive = np.cumsum(ends, axis=1) - ends == 0
    assert 0 < alive[:, -1].mean() < 1

    def value(theta):
        policy, value = jax.nn.softmax(theta), jnp.zeros(m.NUM_STATES)
        going_on = 1 - np.eye(2)[1][:, None] * np.eye(2)[1]
        for _ in range(m.LENGTH):
            value = jnp.sum(policy * (mdp.reward + going_on * (mdp.transition @ value)), axis=-1)
        return mdp.start @ value

    def of_query(state, action, mask):
        query = m.chunk_of(mdp, state[None], action[None], theta)
        query = query._replace(mask=mask[:, None], reward=jnp.where(mask[:, None], query.reward, 0))
        support = _annotated(learner, query)
        empty = jax.tree.map(lambda leaf: jnp.zeros((0, *leaf.shape), leaf.dtype), support)
        return _meta_gradient(objective, learner, empty, query)

    @jax.jit
    def both():
        gradients = jax.vmap(of_query)(trajectories.state, trajectories.action, alive)
        actual = jnp.tensordot(m.probability_of(trajectories, theta), gradients, 1)
        return actual, jax.grad(value)(theta)

    actual, expected = both()
    np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-12)


# --- Expected updates -----------------------------------------------------------


def _expected_update_gradient(mdp, surrogate):
    """Through metajax: a support of every trajectory, queries of every trajectory."""
    learner = m.tabular_learner(optax.sgd(INNER_LR), surrogate)
    objective = _objective(mdp, learner)
    trajectories = m.enumerate_trajectories(mdp)

    @jax.jit
    def run():
        support = _stack(_annotated(learner, m.expectation_chunk(mdp, m.THETA)))
        adapted = m.THETA + RATE * _value_gradient(mdp)(jnp.asarray(m.THETA))

        def of_query(state, action):
            query = m.chunk_of(mdp, state[None], action[None], adapted)
            return _meta_gradient(objective, learner, support, query)

        gradients = jax.vmap(of_query)(trajectories.state, trajectories.action)
        return jnp.tensordot(m.probability_of(trajectories, adapted), gradients, 1)

    return np.asarray(run())


def _value_gradient(mdp):
    return jax.grad(lambda theta: m.value_of(mdp, theta))


@pytest.mark.parametrize(
    "mdp",
    [pytest.param(m.FIXED, marks=pytest.mark.further), m.STOCHASTIC],
    ids=["fixed", "stochastic"],
)
def test_dice_is_right_for_the_expected_update(mdp):
    def objective(theta):
        return m.value_of(mdp, theta + RATE * _value_gradient(mdp)(theta))

    expected = np.asarray(jax.jit(jax.grad(objective))(m.THETA))
    actual = {name: _expected_update_gradient(mdp, name) for name in ("dice", "lvc", "score")}
    np.testing.assert_allclose(actual["dice"], expected, rtol=1e-10, atol=1e-12)
    for biased in ("lvc", "score"):
        assert np.abs(actual[biased] - expected).max() > 0.02


def test_score_and_lvc_are_off_by_what_their_hessians_miss():
    mdp = m.FIXED
    trajectories = m.enumerate_trajectories(mdp)
    reward = mdp.reward[trajectories.state, trajectories.action]
    to_go = np.cumsum(reward[:, ::-1], axis=1)[:, ::-1]

    def curvature(theta, ratio):
        """``E[sum_t f(log pi_t) A_t]`` with f the identity or the ratio."""
        log_prob = jax.nn.log_softmax(theta)[trajectories.state, trajectories.action]
        term = jnp.exp(log_prob - jax.lax.stop_gradient(log_prob)) if ratio else log_prob
        probability = m.probability_of(trajectories, m.THETA)
        return jnp.sum(probability[:, None] * term * to_go)

    @jax.jit
    def run(theta):
        at_adapted = _value_gradient(mdp)(theta + RATE * _value_gradient(mdp)(theta))
        hessians = [jax.hessian(curvature)(theta, ratio).reshape(4, 4) for ratio in (False, True)]
        return at_adapted.ravel(), hessians

    at_adapted, hessians = jax.device_get(run(m.THETA))
    for surrogate, hessian in zip(("score", "lvc"), hessians, strict=True):
        expected = at_adapted + RATE * hessian @ at_adapted
        actual = _expected_update_gradient(mdp, surrogate).ravel()
        np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-12)


# --- Sampled updates --------------------------------------------------------------


def _adapted(mdp, theta, state, action):
    """``theta + rate g``, g the score estimate from E trajectories ``[E, T]``."""
    reward = jnp.asarray(mdp.reward)[state, action]
    to_go = jnp.cumsum(reward[:, ::-1], axis=1)[:, ::-1]
    score = jax.nn.one_hot(action, m.NUM_ACTIONS) - jax.nn.softmax(theta)[state]
    rows = jax.nn.one_hot(state, m.NUM_STATES)
    return theta + RATE * jnp.einsum("ets,eta,et->sa", rows, score, to_go) / len(state)


def _supports(trajectories, num_adaptations, num_streams):
    """Every support there is: indices of trajectories, ``[G, K, E]``."""
    count = num_adaptations * num_streams
    groups = np.array(list(itertools.product(range(len(trajectories.state)), repeat=count)))
    return groups.reshape(-1, num_adaptations, num_streams)


def _follow(mdp, trajectories, theta, support):
    """``(probability of the support [K, E], theta after it)``, differentiable."""
    probability = jnp.ones(())
    for indices in support:
        probability *= jnp.prod(m.probability_of(trajectories, theta)[indices])
        state = jnp.asarray(trajectories.state)[indices]
        theta = _adapted(mdp, theta, state, jnp.asarray(trajectories.action)[indices])
    return probability, theta


def _sampled_update_gradient(mdp, num_adaptations, num_streams):
    """The gradient of ``E over support of V(adapted theta)``, without the package."""
    trajectories = m.enumerate_trajectories(mdp)
    supports = _supports(trajectories, num_adaptations, num_streams)

    def objective(theta):
        def of_support(support):
            probability, adapted = _follow(mdp, trajectories, theta, support)
            return probability * m.value_of(mdp, adapted)

        return jnp.sum(jax.vmap(of_support)(supports))

    return jax.jit(jax.grad(objective))(jnp.asarray(m.THETA))


def _enumerated_estimate(mdp, num_adaptations, num_streams, surrogate, baseline=0.4):
    """What the package's estimate is on average over all supports and queries."""
    trajectories = m.enumerate_trajectories(mdp)
    supports = _supports(trajectories, num_adaptations, num_streams)
    learner = m.tabular_learner(optax.sgd(INNER_LR), surrogate)
    emaml = surrogate == "emaml"
    objective = _objective(mdp, learner, num_adaptations, emaml)
    states, actions = jnp.asarray(trajectories.state), jnp.asarray(trajectories.action)

    def of_support(support):
        theta, chunks = jnp.asarray(m.THETA), []
        for indices in support:
            chunk = m.chunk_of(mdp, states[indices], actions[indices], theta)
            chunks.append(_annotated(learner, chunk))
            theta = _adapted(mdp, theta, states[indices], actions[indices])
        probability, theta = _follow(mdp, trajectories, jnp.asarray(m.THETA), support)

        def of_query(state, action):
            query = m.chunk_of(mdp, state[None], action[None], theta)
            credited = baseline if emaml else None
            return _meta_gradient(objective, learner, _stack(*chunks), query, credited)

        gradients = jax.vmap(of_query)(states, actions)
        return probability * jnp.tensordot(m.probability_of(trajectories, theta), gradients, 1)

    total = jax.jit(lambda: jnp.sum(jax.lax.map(of_support, supports, batch_size=64), axis=0))
    return total()


@pytest.mark.parametrize(
    ("mdp", "num_adaptations", "num_streams"),
    [
        pytest.param(m.FIXED, 1, 1, marks=pytest.mark.further),
        (m.STOCHASTIC, 1, 1),
        pytest.param(m.FIXED, 1, 2, marks=pytest.mark.further),
        (m.FIXED, 2, 1),
    ],
    ids=["fixed", "stochastic", "two streams", "two adaptations"],
)
def test_emaml_is_right_for_the_sampled_update(mdp, num_adaptations, num_streams):
    expected = _sampled_update_gradient(mdp, num_adaptations, num_streams)
    credited = _enumerated_estimate(mdp, num_adaptations, num_streams, "emaml")
    plain = _enumerated_estimate(mdp, num_adaptations, num_streams, "score")
    np.testing.assert_allclose(credited, expected, rtol=1e-9, atol=1e-12)
    assert np.abs(plain - expected).max() > 0.02, "without the credit it is biased"


def test_the_mean_credit_is_the_sum_over_the_samples_that_happened():
    learner = m.tabular_learner(optax.sgd(INNER_LR), "score")
    problem = m.problem_of(m.FIXED, learner, 2, 3)
    plain = outer.post_adaptation(problem)
    summed, mean = (outer.with_sampling_credit(plain, problem, mean=mean) for mean in (False, True))

    @jax.jit
    def credits(theta):
        item, _ = plain.collect(jax.random.key(0), theta)
        mask = item.support.mask.at[..., 1].set(False)
        item = item._replace(credit=jnp.asarray(0.7), support=item.support._replace(mask=mask))
        without, *found = (
            jax.grad(lambda theta, one=one: one.loss(theta, item)[0])(theta)
            for one in (plain, summed, mean)
        )
        return [one - without for one in found], mask.sum()

    (of_sum, of_mean), number = jax.device_get(credits(jnp.asarray(m.THETA)))
    assert np.abs(of_sum).max() > 0.1
    np.testing.assert_allclose(of_mean, of_sum / number, rtol=1e-9)


@pytest.mark.parametrize(
    "surrogate",
    [
        pytest.param(one, marks=() if one in ("dice", "emaml") else pytest.mark.further)
        for one in SURROGATES
    ],
)
def test_sampled_estimates_agree_with_enumeration(surrogate):
    """40 meta-batches of 1000 tasks through ``backprop``, within 5 standard errors."""
    mdp, num_batches = m.FIXED, 40
    learner = m.tabular_learner(optax.sgd(INNER_LR), surrogate)
    emaml = surrogate == "emaml"
    estimator = outer.backprop(
        _objective(mdp, learner, emaml=emaml),
        Layout.build(1000, 1000, 1000, 1),
        sampling_credit=emaml,
    )
    carry = RunningMean(jnp.asarray(0.4), jnp.ones(())) if emaml else ()

    def estimate(key):
        return -m.LENGTH * estimator.estimate(key, jnp.asarray(m.THETA), carry)[0]

    keys = jax.random.split(jax.random.key(1), num_batches)
    gradients = np.asarray(jax.jit(lambda: jax.lax.map(estimate, keys))())
    error = gradients.std(axis=0, ddof=1) / np.sqrt(num_batches)
    difference = gradients.mean(axis=0) - _enumerated_estimate(mdp, 1, 1, surrogate)
    assert error.max() < 0.03
    assert (np.abs(difference) < 5 * error).all()
