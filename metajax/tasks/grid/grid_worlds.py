"""The grid worlds of learned objectives."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal, NamedTuple

from metajax.core.options import Count, Options

if TYPE_CHECKING:
    import jax

    from metajax.core.family import TaskFamily


class GridWorldState(NamedTuple):
    """State of one episode."""

    cell: jax.Array  # int32 scalar, cell of the agent
    there: jax.Array  # bool [n], objects that can be collected
    time: jax.Array  # int32 scalar, steps since the reset


@dataclasses.dataclass(frozen=True, kw_only=True)
class GridWorlds(Options):
    """Grid worlds with objects (Oh et al. 2020): environments in which objectives are learned.

    Moving onto an object collects it: it pays its reward, ends the episode with its probability,
    and is there again with its probability per step. The observation is the state: the cell and
    which objects are there. Start and objects lie in other cells in every task, and stay there.
    Actions are stay, up, right, down, left.

    "dense" (11 x 11, 500 steps, two objects that pay 1 and two that pay -1), "sparse" (13 x 13,
    50 steps, one of each, which end the episode) and "long" (11 x 11, 1000 steps) are
    worlds of Oh et al. In "small" (up to 6 x 6, 20 to 100 steps), "medium" (up to 8 x 8, 100 to
    250 steps) and "large" (up to 10 x 10, 250 to 750 steps) all the rest differs between tasks
    too: walls, side, length, number of objects and their numbers.

    Source: Oh et al. (2020), "Discovering reinforcement learning algorithms", appendix, for the
    first three, with the numbers in the published code of Jackson et al. (2023), "Discovering
    general reinforcement learning algorithms with adversarial environment design", whose
    distributions the others are. Deviations: time is not observed, and a step towards a wall
    is none.

    Attributes:
      worlds: Distribution of worlds.
      observation: Encoding of the state: "one-hot", or "index", its number alone, by which
        networks without hidden layers become tables.
      episode_length: Time limit in steps, if shorter than that of the worlds.
      num_episodes: Episodes per trial.
    """

    worlds: Literal["dense", "sparse", "long", "small", "medium", "large"] = "dense"
    observation: Literal["one-hot", "index"] = "one-hot"
    episode_length: Count | None = None
    num_episodes: Count = 10

    def build(self) -> TaskFamily:
        """The family; tasks are ``ObjectWorld``."""
        import jax
        import jax.numpy as jnp

        from metajax.core.family import Discrete, Spec
        from metajax.tasks.auto_reset import time_step, with_auto_reset
        from metajax.tasks.grid.base import MOVES
        from metajax.tasks.grid.object_worlds import WORLDS, moved, optimal_return

        worlds = WORLDS[self.worlds]
        side, number = worlds.side, len(worlds.reward)
        num_states = side**2 * 2**number
        longest = min(worlds.length, self.episode_length or worlds.length)
        is_index = self.observation == "index"
        spec = Spec(
            name="grid-worlds",
            observation_shape=(1 if is_index else num_states,),
            action_space=Discrete(len(MOVES)),
            episode_length=longest,
            episodes_per_trial=self.num_episodes,
            optimal_return=lambda task: optimal_return(task, side, longest),
            num_indices=num_states if is_index else None,
        )

        def observe(state):
            index = state.cell + side**2 * jnp.sum(state.there * 2 ** jnp.arange(number))
            if is_index:
                return index[None].astype(jnp.float32)
            return jax.nn.one_hot(index, num_states, dtype=jnp.float32)

        def sample(key):
            world = worlds.sample(key)
            return world._replace(length=jnp.minimum(world.length, longest))

        def reset(key, task):
            del key
            state = GridWorldState(task.start, task.present, jnp.zeros((), jnp.int32))
            return state, time_step(observe(state))

        def advance(key, task, state, action):
            draws = jax.random.uniform(key, (1 + number,), jnp.float32)
            cell = moved(task, side, state.cell, action)
            collected = state.there & (task.cells == cell)
            there = state.there | (draws[1:] < task.respawns) & task.present
            state = GridWorldState(cell, there & ~collected, state.time + 1)
            terminated = draws[0] < jnp.sum(task.terminates * collected)
            truncated = (state.time >= task.length) & ~terminated
            reward = jnp.sum(task.reward * collected)
            return state, time_step(
                observe(state), reward, terminated=terminated, truncated=truncated
            )

        return with_auto_reset(spec, sample, reset, advance, restarts="step")
