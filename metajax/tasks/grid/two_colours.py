"""A grid world whose rewards swap within a lifetime."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, NamedTuple

from metajax.core.options import AtLeast, Count, Options

if TYPE_CHECKING:
    import jax

    from metajax.core.family import TaskFamily


class TwoColoursTask(NamedTuple):
    """The colour that pays first."""

    first: jax.Array  # int32 scalar, 0 or 1


class TwoColoursState(NamedTuple):
    """State of one stream."""

    cells: jax.Array  # int32 [3], cells of the agent and of the items of colours 0 and 1
    steps: jax.Array  # int32 scalar, steps since the start of the lifetime
    time: jax.Array  # int32 scalar, steps since the reset


@dataclasses.dataclass(frozen=True, kw_only=True)
class TwoColours(Options):
    """Two-colour grid (Flennerhag et al. 2022): rewards that swap while the learner lives.

    There is one item of each colour. A move onto one of them pays 1, onto the other -1, any
    other step ``step_reward``; a collected item appears in another free cell. Every
    ``swap_period`` steps of a lifetime the two colours swap their rewards, which nothing but the
    rewards tells. Observations are the coordinates of the agent and of both items, one-hot each.
    Actions are up, right, down, left.

    Source: Flennerhag et al. (2022), "Bootstrapped meta-learning", section 5.1. There a stream
    never ends. Here agent and items are put in new cells every ``episode_length`` steps, as a
    truncation, so that returns can be counted; the time to the next swap goes on.

    Attributes:
      size: Side of the grid in cells.
      swap_period: Steps of a stream between two swaps.
      step_reward: Reward of a step that collects nothing.
      episode_length: Time limit in steps.
      num_episodes: Episodes per trial.
    """

    size: Annotated[int, AtLeast(2)] = 5
    swap_period: Count = 100_000
    step_reward: float = -0.04
    episode_length: Count = 100
    num_episodes: Count = 10

    def build(self) -> TaskFamily:
        """The family; tasks are ``TwoColoursTask(first)``."""
        import jax
        import jax.numpy as jnp

        from metajax.core.family import Discrete, Spec, TaskFamily
        from metajax.tasks.auto_reset import or_restart, time_step
        from metajax.tasks.grid.base import move

        size = self.size
        spec = Spec(
            name="two-colours",
            observation_shape=(6 * size,),
            action_space=Discrete(4),
            episode_length=self.episode_length,
            episodes_per_trial=self.num_episodes,
        )

        def observe(cells):
            coordinates = jnp.stack([cells // size, cells % size])
            return jax.nn.one_hot(coordinates, size, dtype=jnp.float32).reshape(-1)

        def sample(key):
            return TwoColoursTask(jax.random.randint(key, (), 0, 2))

        def reset(key, task):
            del task
            cells = jax.random.permutation(key, size**2)[:3].astype(jnp.int32)
            zero = jnp.zeros((), jnp.int32)
            return TwoColoursState(cells, zero, zero), time_step(observe(cells))

        def advance(key, task, state, action):
            agent, items = state.cells[0], state.cells[1:]
            x, y = move(jnp.stack([agent // size, agent % size]), jnp.clip(action, 0, 3) + 1, size)
            agent = x * size + y
            found = items == agent
            pays = (task.first + state.steps // self.swap_period) % 2
            prize = jnp.where(jnp.arange(2) == pays, 1.0, -1.0)
            reward = jnp.where(found.any(), jnp.sum(prize * found), self.step_reward)
            # Gumbel noise picks a cell for the collected item among those that are free.
            free = jnp.ones(size**2, bool).at[jnp.append(items, agent)].set(False)
            noise = jax.random.gumbel(key, (size**2,), jnp.float32)
            place = jnp.argmax(jnp.where(free, noise, -jnp.inf)).astype(jnp.int32)
            cells = jnp.concatenate([agent[None], jnp.where(found, place, items)])
            time = state.time + 1
            after = TwoColoursState(cells, state.steps + 1, time)
            return after, time_step(observe(cells), reward, truncated=time >= self.episode_length)

        def step(key, task, state, action):
            # Unlike with_auto_reset, the time to the next swap goes on.
            key_advance, key_reset = jax.random.split(key)
            state, timestep = advance(key_advance, task, state, action)
            fresh, first = reset(key_reset, task)
            return or_restart(state, timestep, fresh._replace(steps=state.steps), first)

        return TaskFamily(spec=spec, sample=sample, reset=reset, step=step, advance=advance)
