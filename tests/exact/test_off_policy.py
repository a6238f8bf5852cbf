"""Off-policy targets: against rlax, by hand, and as exact expectations."""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rlax as untyped
from hypothesis import given, settings
from hypothesis import strategies as st

from metajax import losses

rlax: Any = untyped
T = 6
per_decision_returns = jax.jit(losses.per_decision_returns)
vtrace_targets = jax.jit(losses.vtrace_targets)
retrace_targets = jax.jit(losses.retrace_targets)
next_step_returns = jax.jit(losses.next_step_returns)
INF = math.inf
GAMMA, LAMBDA = 0.9, 0.7


def _stretch(seed: int, ends: float = 0.4) -> dict[str, Any]:
    """Random experience of one stream whose values agree: v_t is the next v_tm1."""
    rng = np.random.default_rng(seed)
    terminated = rng.random(T) < ends / 2
    truncated = (rng.random(T) < ends / 2) & ~terminated
    states = rng.normal(size=T + 1)
    return {
        "v_tm1": states[:-1],
        "v_t": np.where(truncated, rng.normal(size=T), states[1:]),
        "r_t": rng.normal(size=T),
        "terminated": terminated,
        "truncated": truncated,
        "rho": rng.lognormal(size=T),
    }


def _segments(data):
    """Where stretches begin and end that no episode's end interrupts."""
    ends = np.flatnonzero(data["terminated"] | data["truncated"]) + 1
    cuts = [0, *ends, T]
    return [slice(a, b) for a, b in itertools.pairwise(cuts) if a < b]


def _by_segment(data, rlax_targets):
    """rlax knows one stretch of one episode; the last discount says how that ended."""
    discount = np.where(data["terminated"], 0.0, GAMMA)
    parts = [
        rlax_targets({name: leaf[part] for name, leaf in data.items()}, discount[part])
        for part in _segments(data)
    ]
    return np.concatenate(parts)


seeds = st.integers(0, 10**6)


@jax.jit
def _vtrace_of_rlax(one, discount, clip_rho):
    arguments = (*(one[name] for name in ("v_tm1", "v_t", "r_t")), discount, one["rho"])
    return one["v_tm1"] + rlax.vtrace(*arguments, LAMBDA, clip_rho)


@jax.jit
def _leaky_vtrace_of_rlax(one, discount):
    arguments = (*(one[name] for name in ("v_tm1", "v_t", "r_t")), discount, one["rho"])
    return one["v_tm1"] + rlax.leaky_vtrace(*arguments, alpha_=0.0)


@jax.jit
def _advantages_of_rlax(one, discount):
    arguments = (*(one[name] for name in ("v_tm1", "v_t", "r_t")), discount, one["rho"])
    return rlax.vtrace_td_error_and_advantage(*arguments).q_estimate


_retrace_of_rlax = jax.jit(functools.partial(rlax.retrace, lambda_=LAMBDA, eps=0.0))


@settings(max_examples=15, deadline=None)
@given(seeds, st.sampled_from([0.5, 1.0, 2.0]))
def test_vtrace_agrees_with_rlax_across_the_ends_of_episodes(seed, clip_rho):
    data = _stretch(seed)

    def expected(one, discount):
        return _vtrace_of_rlax(one, discount, clip_rho)

    targets = vtrace_targets(**data, discount=GAMMA, lambda_=LAMBDA, clip_rho=clip_rho)
    np.testing.assert_allclose(targets, _by_segment(data, expected), rtol=1e-10, atol=1e-10)


@settings(max_examples=15, deadline=None)
@given(seeds)
def test_vtrace_without_clipping_is_that_of_rlax_and_per_decision_with_control_variates(seed):
    data = _stretch(seed)
    open_: dict[str, Any] = {"clip_rho": INF, "clip_c": INF}
    targets = vtrace_targets(**data, discount=GAMMA, **open_)
    expected = _by_segment(data, _leaky_vtrace_of_rlax)
    np.testing.assert_allclose(targets, expected, rtol=1e-9, atol=1e-9)
    # With values of 0 nothing is left of the control variates.
    zeros = {**data, "v_tm1": np.zeros(T), "v_t": np.zeros(T)}
    plain = {name: leaf for name, leaf in zeros.items() if name != "v_tm1"}
    np.testing.assert_allclose(
        vtrace_targets(**zeros, discount=GAMMA, **open_),
        per_decision_returns(**plain, discount=GAMMA),
        rtol=1e-9,
        atol=1e-9,
    )


@settings(max_examples=15, deadline=None)
@given(seeds)
def test_advantages_of_vtrace_agree_with_rlax(seed):
    data = _stretch(seed)
    targets = vtrace_targets(**data, discount=GAMMA)
    rest = {name: data[name] for name in ("r_t", "terminated", "truncated", "v_t")}
    found = next_step_returns(targets, **rest, discount=GAMMA)
    expected = _by_segment(data, _advantages_of_rlax)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


@settings(max_examples=15, deadline=None)
@given(seeds)
def test_retrace_agrees_with_rlax(seed):
    rng = np.random.default_rng(seed)
    values, after = rng.normal(size=(T, 3)), rng.normal(size=(T, 3))
    pi, pi_after = rng.dirichlet(np.ones(3), T), rng.dirichlet(np.ones(3), T)
    mu, action = rng.uniform(0.2, 0.9, T), rng.integers(3, size=T)
    ends = _stretch(seed)
    terminated, truncated = ends["terminated"], ends["truncated"]
    for t in range(T - 1):
        if not (terminated[t] or truncated[t]):
            after[t], pi_after[t] = values[t + 1], pi[t + 1]
    rows = np.arange(T)
    q_tm1 = values[rows, action]

    def expected(part):
        # The action after the last step, which only rlax wants, makes no difference.
        errors = _retrace_of_rlax(
            values[part],
            after[part],
            action[part],
            np.append(action[part][1:], 0),
            ends["r_t"][part],
            np.where(terminated[part], 0.0, GAMMA),
            pi_after[part],
            np.append(mu[part][1:], 1.0),
        )
        return np.asarray(errors) + q_tm1[part]

    parts = [expected(part) for part in _segments(ends)]
    targets = retrace_targets(
        q_tm1,
        ends["r_t"],
        terminated,
        truncated,
        (pi_after * after).sum(-1),
        pi[rows, action] / mu,
        GAMMA,
        LAMBDA,
    )
    np.testing.assert_allclose(targets, np.concatenate(parts), rtol=1e-9, atol=1e-9)


def test_by_hand_across_a_time_limit_and_a_terminal_state():
    data = {
        "r_t": np.array([1.0, 2.0, 3.0, 4.0]),
        "terminated": np.array([False, False, True, False]),
        "truncated": np.array([False, True, False, False]),
        "v_t": np.array([10.0, 20.0, 30.0, 40.0]),
        "rho": np.array([2.0, 0.5, 3.0, 1.0]),
    }
    # From the last: 4 + 20; 3 x 3; 0.5 x (2 + 10); 2 x (1 + 0.5 x 6).
    found = per_decision_returns(**data, discount=0.5)
    np.testing.assert_allclose(found, [8, 6, 9, 24])
    # Half of v_t in the place of half of what follows: 2 x (1 + 0.5 x (5 + 3)).
    found = per_decision_returns(**data, discount=0.5, lambda_=0.5)
    np.testing.assert_allclose(found[:1], [10])
    found = per_decision_returns(**data, discount=0.5, clip_rho=1.0)
    np.testing.assert_allclose(found, [4, 6, 3, 24])
    # Values 5 of the states and actions. 24; 3; 2 + 10; 1 + 0.5 (10 + 0.5 (12 - 5)).
    found = retrace_targets(np.full(4, 5.0), **data, discount=0.5)
    np.testing.assert_allclose(found, [1 + 0.5 * 13.5, 12, 3, 24])


# Two states and two actions: every stretch of four steps can be listed.
TRANSITION = np.array([[[0.6, 0.3], [0.1, 0.5]], [[0.2, 0.5], [0.7, 0.2]]])
"""``[S, A, S]``; what is missing from 1 is the probability that the episode ends."""
REWARD = np.array([[1.0, -0.5], [0.3, 2.0]])
END = 1 - TRANSITION.sum(-1)
PI, MU = np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([[0.4, 0.6], [0.5, 0.5]])


def _values(policy):
    """The state values of a policy, and its action values."""
    reward = (policy * REWARD).sum(-1)
    moves = np.einsum("sa,sat->st", policy, TRANSITION)
    values = np.linalg.solve(np.eye(2) - GAMMA * moves, reward)
    return values, REWARD + GAMMA * TRANSITION @ values


class Stretches(NamedTuple):
    """All stretches from a state, with their probabilities under the policy that acts.

    Attributes:
      probability: ``[M]``.
      state, action: ``[T, M]``.
      data: the arguments that all targets share, ``[T, M]``.
    """

    probability: np.ndarray
    state: np.ndarray
    action: np.ndarray
    data: dict[str, Any]


def _stretches(start, values, length=4):
    """After the end of an episode a stretch goes on in state 0, as streams do."""
    found = [(1.0, [], start)]
    for _ in range(length):
        found = [
            (chance * MU[state, action] * here, [*steps, (state, action, after)], after % 2)
            for chance, steps, state in found
            for action in range(2)
            for after, here in enumerate([*TRANSITION[state, action], END[state, action]])
        ]
    state, action, after = np.moveaxis(np.array([steps for _, steps, _ in found]), 2, 0)
    state, action, after = state.T, action.T, after.T
    data = {
        "r_t": REWARD[state, action],
        "terminated": after == 2,
        "truncated": np.zeros(after.shape, bool),
        "v_t": np.append(values, 1e6)[after],  # of a terminal state it must not be read
        "rho": (PI / MU)[state, action],
    }
    probability = np.array([chance for chance, *_ in found])
    np.testing.assert_allclose(probability.sum(), 1)
    return Stretches(probability, state, action, data)


@pytest.mark.parametrize("start", [0, 1])
def test_per_decision_returns_are_unbiased(start):
    values, _ = _values(PI)
    every = _stretches(start, values)
    targets = per_decision_returns(**every.data, discount=GAMMA)
    np.testing.assert_allclose(
        every.probability @ np.asarray(targets)[0], values[start], rtol=1e-10
    )


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("clip_rho", [INF, 1.0, 0.6])
@pytest.mark.parametrize("clip_c", [INF, 1.0, 0.3])
def test_vtrace_leaves_the_values_of_the_clipped_policy_as_they_are(start, clip_rho, clip_c):
    weight = np.minimum(clip_rho * MU, PI) if clip_rho < INF else PI
    values, _ = _values(weight / weight.sum(-1, keepdims=True))
    every = _stretches(start, values)
    targets = vtrace_targets(
        values[every.state],
        **every.data,
        discount=GAMMA,
        clip_rho=clip_rho,
        clip_c=clip_c,
    )
    np.testing.assert_allclose(
        every.probability @ np.asarray(targets)[0], values[start], rtol=1e-10
    )


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("clip_c", [INF, 1.0, 0.3])
def test_retrace_leaves_the_action_values_of_the_target_policy_as_they_are(start, clip_c):
    values, action_values = _values(PI)
    every = _stretches(start, values)
    before = action_values[every.state, every.action]
    targets = np.asarray(retrace_targets(before, **every.data, discount=GAMMA, clip_c=clip_c))
    for action in range(2):
        weight = every.probability * (every.action[0] == action)
        mean = weight @ targets[0] / weight.sum()
        np.testing.assert_allclose(mean, action_values[start, action], rtol=1e-10)


def test_streams_are_independent_and_targets_differentiable():
    streams = [_stretch(seed) for seed in range(3)]
    block = jax.tree.map(lambda *leaves: np.stack(leaves, axis=1), *streams)
    together = np.asarray(vtrace_targets(**block, discount=GAMMA))
    for index, one in enumerate(streams):
        alone = vtrace_targets(**one, discount=GAMMA)
        np.testing.assert_allclose(together[:, index], alone, rtol=1e-5, atol=1e-6)

    @jax.jit
    @jax.value_and_grad
    def total(discount):
        return jnp.sum(losses.vtrace_targets(**streams[0], discount=discount))

    slope, ends = total(GAMMA)[1], [total(GAMMA + h)[0] for h in (-1e-2, 1e-2)]
    np.testing.assert_allclose(slope, (ends[1] - ends[0]) / 2e-2, rtol=0.02, atol=0.02)
