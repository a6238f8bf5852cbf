"""Values and actors that adapt: in two arms everything they should find is known."""

import jax
import jax.numpy as jnp
import pytest
import toys

import metajax

GAMMA = 0.5
TARGET = (0.8, 0.2)
SIZES = {
    "num_tasks": 16,
    "num_streams": 8,
    "num_steps": 8,
    "lifetime": 64,
    "hidden_sizes": (8,),
    "discount": GAMMA,
    "updates": 3,
}


def _errors(algorithm, num_tasks=64):
    """``(theta) ->`` mean squared errors of predictions before and after adaptation.

    Episodes end by a time limit, after which the values go on: ``V = mean reward / (1 -
    discount)``.
    """
    learner = algorithm.learner

    def of_task(theta, key):
        task = algorithm.family.sample(key)
        trial = algorithm.adapt(key, theta, task)
        before = learner.begin(key, theta)
        found = [
            jnp.mean(learner.predict(theta, phi, trial.query).value) for phi in (before, trial.phi)
        ]
        return jnp.square(jnp.stack(found) - jnp.asarray(TARGET)[task] / (1 - GAMMA))

    keys = jax.random.split(jax.random.key(7), num_tasks)
    return jax.jit(lambda theta: jnp.mean(jax.vmap(of_task, (None, 0))(theta, keys), 0))


@pytest.mark.slow
@pytest.mark.parametrize("correction", ["per-decision", "vtrace"])
def test_values_of_another_policy_are_known_after_a_few_transitions(correction):
    """The uniform policy acts; what the target policy is worth is 1.6 or 0.4, by task."""
    algorithm = metajax.make(
        "meta-value",
        toys.arms(),
        **SIZES,
        correction=correction,
        clip_rho=None,
        target_probabilities=TARGET,
        inner_lr=0.1,
        learning_rate=0.01,
    )
    errors = _errors(algorithm)
    _, untrained = errors(algorithm.init(jax.random.key(0)).theta)
    state, _ = metajax.train(algorithm, jax.random.key(0), 100, block_size=50)
    before, after = errors(state.theta)
    # Before, no prediction is better than the mean of the two, which is 0.6 from both.
    assert before > 0.3
    assert after < 0.3 * before
    assert after < 0.5 * untrained


@pytest.mark.slow
def test_an_actor_finds_the_arm_that_pays():
    algorithm = metajax.make(
        "meta-policy", toys.arms(), **SIZES, epsilon=0.2, inner_lr=0.3, learning_rate=0.01
    )
    state, _ = metajax.train(algorithm, jax.random.key(0), 60)
    found = metajax.evaluate(algorithm, jax.random.key(1), state.theta, num_tasks=100)
    greedy = metajax.evaluate(
        algorithm, jax.random.key(1), state.theta, num_tasks=100, explore=False
    )
    # Of two pulls one pays on average before, and two after, up to exploration.
    assert abs(greedy.mean()[0] - 1) < 0.4
    assert greedy.mean()[-1] > 1.8
    assert found.mean()[-1] > 1.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target_probabilities": (0.5, 0.6)}, "target_probabilities"),
        ({"target_probabilities": (0.5, 0.3, 0.2)}, "3 given; allowed: 2"),
        ({"lifetime": 65}, "a multiple of num_steps"),
        ({"clip_c": 0.0}, "clip_c"),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(metajax.OptionError, match=message):
        metajax.make("meta-value", toys.arms(), **{**SIZES, **options})


def test_continuous_actions_are_refused():
    with pytest.raises(metajax.OptionError, match="allowed: a family with Discrete actions"):
        metajax.make("meta-policy", toys.line(), **SIZES)
