"""Actor-critic as a learner, and its settings learned online."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import protocol
import pytest
import rlax
import toys

import metajax
from metajax import inner, networks
from metajax.algorithms import ALGORITHMS
from metajax.core.family import Discrete, Spec
from metajax.core.types import Chunk
from metajax.data.acting import actor_of

NUM_STEPS, NUM_STREAMS = 6, 2
SPEC = Spec("toy", (3,), Discrete(2), episode_length=5)
POLICY = networks.policy(SPEC, networks.MLP((4,), "tanh"), value_network=networks.MLP((4,), "tanh"))


def _learner(**numbers):
    now = inner.ActorCriticSettings(**{"learning_rate": 0.1, **numbers})
    return inner.actor_critic_learner(
        POLICY, optimizer=optax.identity(), settings=lambda theta: now
    )


def _chunk(seed=0, terminated=(), truncated=()):
    """Random experience; ``terminated`` and ``truncated`` are the steps that end episodes."""
    random = np.random.default_rng(seed)
    shape = NUM_STEPS, NUM_STREAMS

    def normal(*more):
        return random.normal(size=(*shape, *more)).astype(np.float32)

    def ends(steps):
        return np.isin(np.arange(NUM_STEPS), steps)[:, None].repeat(NUM_STREAMS, 1)

    following = normal(3)
    # What is seen after a step that ends no episode is what the next decision sees.
    seen = np.concatenate([normal(3)[:1], following[:-1]])
    reset = np.concatenate([ends(())[:1], (ends(terminated) | ends(truncated))[:-1]])
    fields: dict[str, Any] = {
        "observation": np.where(reset[..., None], normal(3), seen),
        "action": random.integers(0, 2, shape).astype(np.int32),
        "reward": normal(),
        "terminated": ends(terminated),
        "truncated": ends(truncated),
        "mask": np.ones(shape, bool),
        "log_prob": np.zeros(shape, np.float32),
        "next_observation": following,
    }
    return Chunk(**fields)


def _annotated(chunk, **numbers):
    learner = _learner(**numbers)

    @jax.jit
    def run(chunk):
        theta = learner.init(jax.random.key(0))
        phi = learner.begin(jax.random.key(1), theta)

        def value(observation):
            assert POLICY.value is not None
            return POLICY.value(phi.fast, observation.reshape(-1, 3)).reshape(NUM_STEPS, -1)

        annotated = actor_of(learner).annotate(theta, phi, chunk)
        return annotated, value(chunk.observation), value(chunk.next_observation)

    return jax.device_get(run(chunk))


@functools.cache
def _over_streams(fn):
    """Of a number and, beside it, of what streams have at axis 1."""
    return jax.jit(jax.vmap(fn, (1, 1, None, 1), 1))


def test_advantages_are_those_of_rlax():
    """One episode that goes on, and then one that terminates within the chunk."""
    for terminated in ((), (2,)):
        chunk = _chunk(terminated=terminated)
        annotated, before, after = _annotated(chunk, discount=0.9, gae_lambda=0.7)
        values = np.concatenate([before, after[-1:]])
        expected = _over_streams(rlax.truncated_generalized_advantage_estimation)(
            chunk.reward, np.float32(0.9) * ~chunk.terminated, 0.7, values
        )
        np.testing.assert_allclose(annotated.advantage, expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(annotated.target, expected + before, rtol=1e-4, atol=1e-5)


def test_targets_are_the_lambda_returns_of_rlax_with_a_discount_of_the_state():
    """That of the state that a step leads to multiplies all that comes after it."""
    table = np.array([1.0, -2.0, 0.5], np.float32)
    chunk = _chunk(1, terminated=(3,))
    annotated, _, after = _annotated(
        chunk, discount=lambda seen: jax.nn.sigmoid(seen @ table), gae_lambda=0.6
    )
    discount = np.where(chunk.terminated, 0, 1 / (1 + np.exp(-chunk.next_observation @ table)))
    expected = jax.jit(jax.vmap(rlax.lambda_returns, (1, 1, 1, None), 1))(
        chunk.reward, discount, after, 0.6
    )
    np.testing.assert_allclose(annotated.target, expected, rtol=1e-4, atol=1e-5)


def test_time_limits_bootstrap_and_terminal_states_do_not():
    for ends, bootstraps in (("truncated", 1), ("terminated", 0)):
        chunk = _chunk(2, **{ends: (1, 4)})
        annotated, _, after = _annotated(chunk, discount=0.5, gae_lambda=1.0)
        r_t = chunk.reward
        last = r_t[[1, 4]] + bootstraps * 0.5 * after[[1, 4]]
        np.testing.assert_allclose(annotated.target[[1, 4]], last, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(annotated.target[0], r_t[0] + 0.5 * last[0], rtol=1e-4)
        third = r_t[2] + 0.5 * (r_t[3] + 0.5 * last[1])
        np.testing.assert_allclose(annotated.target[2], third, rtol=1e-4, atol=1e-5)
        # The end of the chunk ends no episode.
        np.testing.assert_allclose(annotated.target[5], r_t[5] + 0.5 * after[5], rtol=1e-4)


def test_an_update_is_one_step_down_the_loss_with_fixed_targets():
    numbers = {"discount": 0.9, "value_coefficient": 0.7, "entropy_coefficient": 0.2}
    learner, chunk = _learner(**numbers), _chunk(3)

    @jax.jit
    def run():
        theta = learner.init(jax.random.key(0))
        phi = learner.begin(jax.random.key(1), theta)
        fixed = actor_of(learner).annotate(theta, phi, chunk)

        def loss(weights):
            outputs = learner.predict(theta, phi._replace(fast=weights), fixed)
            policy_loss = -jnp.mean(outputs.log_prob * fixed.advantage)
            error = jnp.mean((fixed.target - outputs.value) ** 2)
            return policy_loss + 0.7 * error / 2 - 0.2 * jnp.mean(outputs.entropy), outputs

        (value, outputs), gradient = jax.value_and_grad(loss, has_aux=True)(theta)
        expected = jax.tree.map(lambda w, g: w - 0.1 * g, theta, gradient)
        after = learner.adapt(jax.random.key(2), theta, phi, chunk)
        own_loss = inner.ActorCriticSettings(**numbers).loss(outputs, fixed)
        return (after.fast, expected), (own_loss, value)

    (after, expected), (own_loss, loss) = run()
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6),
        after,
        expected,
    )
    np.testing.assert_allclose(own_loss, loss, rtol=1e-5)


def test_a_policy_without_a_value_is_refused():
    policy = networks.policy(SPEC, networks.MLP((4,)))
    with pytest.raises(ValueError, match="value_network"):
        inner.actor_critic_learner(
            policy,
            optimizer=optax.identity(),
            settings=lambda theta: inner.ActorCriticSettings(),
        )


SMALL = {
    "num_tasks": 4,
    "num_streams": 2,
    "num_steps": 5,
    "lifetime": 100,
    "hidden_sizes": (4,),
}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learned": ("gamma",)}, "learned: .*discount"),
        ({"learned": ()}, "learned"),
        ({"discount": 1.0}, "discount: 1.0"),
        ({"window": 10}, "window: 10 .* lifetime \\(10\\)"),
        ({"lifetime": 101}, "lifetime"),
        ({"learned": ("gae_lambda",), "state_discount": True}, "learned: .*discount"),
    ],
)
def test_what_cannot_be_learned_is_refused(options, message):
    with pytest.raises(metajax.OptionError, match=message):
        metajax.make("meta-gradient-actor-critic", toys.arms(), **{**SMALL, **options})


@pytest.mark.xdist_group("meta-gradient-actor-critic")
def test_only_what_is_learned_moves_and_the_schedule_is_recorded():
    states, history = protocol.run("meta-gradient-actor-critic").training
    theta = states[2].theta
    assert set(theta) == set(protocol.LEARNED)
    for name in protocol.LEARNED:
        values = history[name]
        assert values.shape == (2,)
        assert abs(values[-1] - values[0]) > 1e-6
    np.testing.assert_allclose(history["inner_lr"][-1], np.exp(theta["inner_lr"]), rtol=1e-5)
    fewer = metajax.make(
        "meta-gradient-actor-critic", toys.arms(), **SMALL, learned=("gae_lambda",)
    )
    assert set(jax.eval_shape(fewer.init, jax.random.key(0)).theta) == {"gae_lambda"}


def test_discounts_of_states_start_from_the_option():
    options = {**SMALL, "learned": ("discount",), "state_discount": True, "discount": 0.9}
    options = ALGORITHMS.get("meta-gradient-actor-critic")(**options)
    family = toys.arms()
    observation = np.arange(6, dtype=np.float32).reshape(2, 3, *family.spec.observation_shape)

    @jax.jit
    def run():
        theta = options.initial(jax.random.key(0), family)
        return options.settings(theta).discount(observation), options.record(theta, ())["discount"]

    discount, recorded = run()
    np.testing.assert_allclose(discount, np.full((2, 3), 0.9), rtol=1e-6)
    np.testing.assert_allclose(recorded, 0.9, rtol=1e-6)


def test_settings_are_float32_where_float64_is_allowed(x64):
    for state_discount in (False, True):
        options = {**SMALL, "learned": ("discount", "gae_lambda"), "state_discount": state_discount}
        theta = ALGORITHMS.get("meta-gradient-actor-critic")(**options).initial(
            jax.random.key(0), toys.arms()
        )
        assert {leaf.dtype.name for leaf in jax.tree.leaves(theta)} == {"float32"}


@pytest.mark.slow
@pytest.mark.parametrize("order", ["halves", "alternating"])
def test_discounts_of_states_keep_the_signal_and_leave_out_the_noise(order):
    """High where what a step leads to is a signal, low where it is noise (Xu et al. 2018)."""
    family = metajax.tasks.make("xu-chain", order=order)
    algorithm = metajax.make(
        "meta-gradient-actor-critic",
        family,
        num_tasks=32,
        num_streams=1,
        num_steps=10,
        lifetime=2000,
        hidden_sizes=(),
        inner_optimizer="sgd",
        inner_lr=1.0,
        value_coefficient=1.0,
        gae_lambda=1.0,
        learned=("discount",),
        discount=0.5,
        state_discount=True,
        reference_discount=1.0,
        learning_rate=0.03,
    )
    _, history = metajax.train(algorithm, jax.random.key(0), 1000)
    discount = np.asarray(history["discount"])[-100:].mean(axis=0)
    print(order, np.round(discount, 2))
    noisy = np.asarray(family.sample(jax.random.key(0)).noisy)
    # No step leads to state 0, so nothing is learned about it.
    assert discount[0] == 0.5
    assert discount[1:][noisy[1:]].max() < 0.15
    assert discount[1:][~noisy[1:]].min() > 0.8


def test_settings_follow_the_rewards_of_the_last_chunks():
    """They start from the option, and what the learner remembers are means of chunks."""
    options = {"learned": ("entropy_coefficient",), "entropy_coefficient": 0.3, "reward_history": 3}
    options = ALGORITHMS.get("bootstrapped-actor-critic")(**SMALL, **options)
    learner, family = options.informed_learner(toys.arms(), options.settings), toys.arms()

    @jax.jit
    def run(theta):
        informed = inner.Informed(theta, jnp.arange(3.0))
        phi = learner.begin(jax.random.key(1), theta)
        chunk = _chunk()._replace(
            observation=jnp.ones((NUM_STEPS, NUM_STREAMS, *family.spec.observation_shape)),
            next_observation=jnp.ones((NUM_STEPS, NUM_STREAMS, *family.spec.observation_shape)),
        )
        for _ in range(2):
            phi = learner.adapt(jax.random.key(2), theta, phi, chunk)
        return options.settings(informed).entropy_coefficient, phi.recent

    theta = learner.init(jax.random.key(0))
    coefficient, recent = run(theta)
    np.testing.assert_allclose(coefficient, 0.3, rtol=1e-6)
    mean = np.asarray(_chunk().reward).mean()
    np.testing.assert_allclose(recent, np.array([0, mean, mean]), rtol=1e-5)
    moved = jax.tree.map(lambda leaf: leaf + 0.1, theta)
    assert abs(run(moved)[0] - 0.3) > 0.01
