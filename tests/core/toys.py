"""Task families of a few numbers, whose every count can be done by hand."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

import metajax
from metajax.algorithms import ALGORITHMS
from metajax.algorithms.gradient.base import GradientBased
from metajax.core.algorithm import MetaAlgorithm
from metajax.core.family import Box, Discrete, Spec, TaskFamily, TimeStep
from metajax.tasks import with_auto_reset

NUM_TASKS, NUM_STREAMS = 4, 3


def _kind(name: str) -> str:
    options = ALGORITHMS.get(name)
    if issubclass(options, GradientBased):
        return "fresh"
    if getattr(options, "labelled", False):
        return "few-shot"
    if "slip" in option_names(options):
        return "demonstrated"
    return "lifetime" if "lifetime" in option_names(options) else "continuing"


def option_names(options: type) -> set[str]:
    """Names of the options of an algorithm."""
    return {field.name for field in dataclasses.fields(options)}


_KINDS = {name: _kind(name) for name in metajax.list_algorithms()}
GRADIENT_BASED = tuple(name for name, kind in _KINDS.items() if kind == "fresh")
CONTINUING = tuple(name for name, kind in _KINDS.items() if kind == "continuing")
LIFETIMES = tuple(name for name, kind in _KINDS.items() if kind == "lifetime")
FEW_SHOT = tuple(name for name, kind in _KINDS.items() if kind == "few-shot")
"""Registered algorithms: with chunks of fresh episodes, with trials of many episodes, with
streams that go on from chunk to chunk, with labelled examples alone."""


def _timestep(observation, reward, terminated, truncated):
    reward = jnp.asarray(reward, jnp.float32)
    return TimeStep(observation, reward, terminated, truncated, observation)


def arms(episode_length: int = 2, prize: float = 1.0, name: str = "arms") -> TaskFamily:
    """Two arms, one of which pays ``prize`` at every pull; the task is which one.

    Nothing is to be seen, so no policy is paid more than half of the time on
    average over tasks before it has adapted. Episodes end by truncation.
    """
    spec = Spec(name, (1,), Discrete(2), episode_length)
    seen, no = jnp.ones(1, jnp.float32), jnp.zeros((), bool)

    def reset(key, task):
        del key, task
        return jnp.zeros((), jnp.int32), _timestep(seen, 0, no, no)

    def advance(key, task, state, action):
        del key
        reward = jnp.where(action == task, prize, 0)
        return state + 1, _timestep(seen, reward, no, state + 1 >= episode_length)

    def sample(key):
        return jax.random.bernoulli(key).astype(jnp.int32)

    return with_auto_reset(spec, sample, reset, advance)


class Walk(NamedTuple):
    """A task of ``line``: where to go and after how many steps episodes terminate."""

    goal: jax.Array
    lifetime: jax.Array


def line(episode_length: int = 4, name: str = "line") -> TaskFamily:
    """A point on a line; the reward is minus its distance from the goal.

    Episodes terminate after ``lifetime`` steps, 2 or 3, before the time limit. The
    position and the goal are seen; once that is over, NaN takes the place of the goal.
    """
    spec = Spec(name, (2,), Box((-1.0,), (1.0,)), episode_length)
    no = jnp.zeros((), bool)

    def observe(position, task):
        return jnp.stack([position, task.goal])

    def reset(key, task):
        position = 0.1 * jax.random.normal(key)
        return (position, jnp.zeros((), jnp.int32)), _timestep(observe(position, task), 0, no, no)

    def advance(key, task, state, action):
        del key
        position, time = state[0] + jnp.clip(action[0], -1, 1), state[1] + 1
        terminated = time >= task.lifetime
        truncated = (time >= episode_length) & ~terminated
        reward = -jnp.abs(position - task.goal)
        seen = observe(position, task).at[1].set(jnp.where(terminated, jnp.nan, task.goal))
        return (position, time), _timestep(seen, reward, terminated, truncated)

    def sample(key):
        key_goal, key_lifetime = jax.random.split(key)
        return Walk(jax.random.normal(key_goal), jax.random.randint(key_lifetime, (), 2, 4))

    def oracle(task, state):
        return jnp.clip(task.goal - state[0], -1, 1)[None]

    return with_auto_reset(spec, sample, reset, advance, oracle=oracle)


def make(name: str, family: TaskFamily, **options) -> MetaAlgorithm:
    """An algorithm of the registry in a small size, on one device for quick compilation."""
    small = {"num_tasks": NUM_TASKS, "num_streams": NUM_STREAMS, "devices": 1}
    torso = {} if "network" in options else {"hidden_sizes": (4,)}
    return metajax.make(name, family, **{**small, **torso, **options})


OUTER_RULES = {
    "backprop": ("maml", {}),
    "emaml": ("maml", {"surrogate": "emaml"}),
    "displacement": ("reptile", {"inner_steps": 2}),
    "epochs": ("maml", {"outer": "ppo", "num_epochs": 2, "num_minibatches": 2}),
    "trust region": ("maml", {"outer": "trpo", "cg_iterations": 3}),
}
"""Every make of outer rule and estimator: an algorithm and its options."""
