"""What nobody acts on changes nothing: terminal observations, padding and masked rows.

The toy ``line`` of the other protocol tests has terminal observations that are not finite as well.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import protocol
import toys

import metajax
from metajax.core.family import Box, Discrete, Spec, TaskFamily
from metajax.tasks.auto_reset import time_step, with_auto_reset


def _diverging(rest: jax.Array, discrete: bool, num_episodes: int = 1) -> TaskFamily:
    """A walk whose episodes terminate after 2 or 3 of 4 steps, or are cut off there.

    The terminal observation, and every observation and reward after an end, is ``rest``.
    """
    actions: Any = Discrete(2) if discrete else Box((-1.0,), (1.0,))
    spec = Spec("diverging", (2,), actions, 4, episodes_per_trial=num_episodes)

    def observe(position, task):
        return jnp.stack([position, task.goal])

    def reset(key, task):
        position = 0.1 * jax.random.normal(key)
        return (position, jnp.zeros((), jnp.int32)), time_step(observe(position, task))

    def advance(key, task, state, action):
        del key
        position, time = state
        over = time >= task.lifetime
        position = position + jnp.clip(jnp.ravel(jnp.asarray(action, jnp.float32))[0], -1, 1)
        cut_off = task.goal > 0.5
        ends = time + 1 >= task.lifetime
        seen = jnp.where(over | (ends & ~cut_off), rest, observe(position, task))
        reward = jnp.where(over, rest, -jnp.abs(position - task.goal))
        flags = {"terminated": ends & ~cut_off, "truncated": ends & cut_off}
        return (position, time + 1), time_step(seen, reward, **flags)

    def sample(key):
        key_goal, key_lifetime = jax.random.split(key)
        return toys.Walk(jax.random.normal(key_goal), jax.random.randint(key_lifetime, (), 2, 4))

    return with_auto_reset(spec, sample, reset, advance, oracle=lambda task, state: jnp.ones(1))


def _algorithm(name: str, rest: jax.Array) -> Any:
    registered, options = VARIANTS.get(name, (name, {}))
    options = {**protocol.OPTIONS.get(registered, {}), **options}
    if registered in toys.LIFETIMES:
        sizes = protocol.lifetime_sizes(registered)
        return metajax.make(registered, _diverging(rest, True), **{**sizes, **options})
    if registered in toys.CONTINUING:
        return metajax.make(registered, _diverging(rest, True, 2), num_tasks=4, **options)
    discrete = options.get("correction") is not None or registered.startswith("meta-")
    return toys.make(registered, _diverging(rest, discrete), **options)


VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    **toys.OUTER_RULES,
    "value baseline": ("maml", {"baseline": "value"}),
    "likelihood ratios": ("maml", {"surrogate": "lvc"}),
    "boxes": ("maml", {"surrogate": "dice"}),
    "advantages of episodes": ("rl2", {"hidden_size": 3, "advantages": "episode"}),
}
MEMORIES = ("rl2", "rl2-reward-prediction", "snail", "transformer")
IMITATORS = ("matching-imitation", "prototypical-imitation", "cloning")
EVERY = (*VARIANTS, *toys.GRADIENT_BASED, *MEMORIES, *toys.LIFETIMES, *IMITATORS)


@protocol.every(further=[name for name in EVERY if name not in ("backprop", "displacement")])
def test_what_nobody_acts_on_changes_nothing(name):
    @jax.jit
    def outcome(rest, key):
        algorithm = _algorithm(name, rest)
        state = algorithm.init(key)
        state, info = algorithm.step(key, state)
        family = algorithm.family
        trial = algorithm.adapt(key, algorithm.deploy(state), family.sample(key), family=family)
        return state.theta, info, trial.returns

    sound, diverged = (jax.device_get(outcome(rest, jax.random.key(3))) for rest in (0.5, jnp.nan))
    for before, after in zip(jax.tree.leaves(sound), jax.tree.leaves(diverged), strict=True):
        np.testing.assert_array_equal(before, after)
        assert np.isfinite(after).all()
