"""First and second derivatives of the inner surrogates against full enumeration.

With V the expected return over T = 3 steps, every surrogate L is a mean over
steps, so that ``-T E[grad L] = grad V`` for all of them. Their Hessians differ:

- ``dice``: ``-T E[hess L] = hess V``, for any baseline of the state.
- ``lvc``: leaves out the products of scores at different steps.
- ``score``: leaves out every product of scores, and what is left depends on the
  baseline, since ``E[hess log pi]`` is not zero.
"""

import functools

import jax
import jax.numpy as jnp
import mdp as m
import numpy as np
import optax
import pytest

from metajax.inner import SURROGATES, DescentState

PROCESSES = {"fixed": m.FIXED, "stochastic": m.STOCHASTIC}
BASELINES = {"no baseline": np.zeros(2), "baseline": np.array([0.7, -1.1])}
SIZE = m.NUM_STATES * m.NUM_ACTIONS


def _advantages(mdp, trajectories, baseline):
    reward = mdp.reward[trajectories.state, trajectories.action]
    to_go = np.cumsum(reward[:, ::-1], axis=1)[:, ::-1]
    return to_go - baseline[trajectories.state]


def _expected_loss(mdp, surrogate, baseline):
    """``(theta) -> -T E[L]``, with trajectories as likely as under THETA."""
    trajectories = m.enumerate_trajectories(mdp)
    learner = m.tabular_learner(optax.sgd(0.1), surrogate)

    def of_one(theta, state, action, advantage):
        chunk = m.chunk_of(mdp, state[None], action[None], m.THETA)
        chunk = learner.actor.annotate(theta, DescentState(theta, ()), chunk)
        chunk = chunk._replace(advantage=advantage[:, None])
        outputs = learner.predict(theta, DescentState(theta, ()), chunk)
        return SURROGATES[surrogate](outputs, chunk)

    def expected(theta):
        probability = m.probability_of(trajectories, m.THETA)
        losses = jax.vmap(of_one, (None, 0, 0, 0))(
            theta,
            trajectories.state,
            trajectories.action,
            _advantages(mdp, trajectories, baseline),
        )
        return -m.LENGTH * jnp.sum(probability * losses)

    return expected


def _theory(mdp, baseline):
    """Hessians by hand: of V, and what ``lvc`` and ``score`` make of it.

    The score of a softmax row is ``e_a - pi``; its derivative ``pi pi' - diag(pi)``.
    """
    trajectories = m.enumerate_trajectories(mdp)
    advantages = _advantages(mdp, trajectories, baseline)
    policy = np.exp(m.THETA) / np.exp(m.THETA).sum(axis=1, keepdims=True)
    hessians = {name: np.zeros((SIZE, SIZE)) for name in ("dice", "lvc", "score")}
    for state, action, probability, advantage in zip(*trajectories, advantages, strict=True):
        probability = probability * np.prod(policy[state, action])
        scores, curvatures = [], []
        for s, a in zip(state, action, strict=True):
            score, curvature = np.zeros((2, 2)), np.zeros((2, 2, 2, 2))
            score[s] = np.eye(2)[a] - policy[s]
            curvature[s, :, s, :] = np.outer(policy[s], policy[s]) - np.diag(policy[s])
            scores.append(score.ravel())
            curvatures.append(curvature.reshape(SIZE, SIZE))
        for t in range(m.LENGTH):
            past = sum(scores[: t + 1])
            # d/dtheta of (product of policies so far) * score, credited from t on.
            cross = np.outer(scores[t], past) + np.outer(past, scores[t])
            square = np.outer(scores[t], scores[t])
            bare = probability * advantage[t]
            hessians["score"] += bare * curvatures[t]
            hessians["lvc"] += bare * (curvatures[t] + square)
            hessians["dice"] += bare * (curvatures[t] + cross - square)
    return hessians


def _true_hessian(mdp):
    hessian = jax.jit(jax.hessian(lambda theta: m.value_of(mdp, theta)))(m.THETA)
    return np.asarray(hessian).reshape(SIZE, SIZE)


@pytest.fixture(params=PROCESSES)
def mdp(request):
    return PROCESSES[request.param]


@pytest.fixture(params=BASELINES)
def baseline(request):
    return BASELINES[request.param]


def test_enumeration_agrees_with_backward_induction(mdp):
    trajectories = m.enumerate_trajectories(mdp)

    @jax.jit
    def run(theta):
        return m.probability_of(trajectories, theta), m.value_of(mdp, theta)

    probability, value = jax.device_get(run(m.THETA))
    returns = mdp.reward[trajectories.state, trajectories.action].sum(axis=1)
    np.testing.assert_allclose(probability.sum(), 1, rtol=1e-12)
    np.testing.assert_allclose(probability @ returns, value, rtol=1e-12)


@pytest.mark.parametrize("surrogate", SURROGATES)
def test_first_derivative_is_that_of_the_expected_return(mdp, baseline, surrogate):
    value, loss = functools.partial(m.value_of, mdp), _expected_loss(mdp, surrogate, baseline)
    expected, actual = jax.jit(lambda theta: (jax.grad(value)(theta), jax.grad(loss)(theta)))(
        m.THETA
    )
    np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("surrogate", ["score", "lvc", "dice"])
def test_second_derivative_is_the_one_that_theory_gives(mdp, baseline, surrogate):
    actual = jax.jit(jax.hessian(_expected_loss(mdp, surrogate, baseline)))(m.THETA)
    actual = np.asarray(actual).reshape(SIZE, SIZE)
    expected = _theory(mdp, baseline)[surrogate]
    np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-12)
    error = np.abs(actual - _true_hessian(mdp)).max()
    if surrogate == "dice":
        assert error < 1e-12
    else:
        assert error > 0.02, "biased, by more than rounding"


def test_only_the_bias_of_score_depends_on_the_baseline(mdp):
    without, with_baseline = (_theory(mdp, value) for value in BASELINES.values())
    np.testing.assert_allclose(without["dice"], with_baseline["dice"], atol=1e-12)
    np.testing.assert_allclose(without["lvc"], with_baseline["lvc"], atol=1e-12)
    assert np.abs(without["score"] - with_baseline["score"]).max() > 0.05
