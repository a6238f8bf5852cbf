"""Dark key-to-door."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal, NamedTuple

from metajax.core.options import Count
from metajax.tasks.grid.room import Room

if TYPE_CHECKING:
    import jax

    from metajax.core.family import TaskFamily


class KeyDoorTask(NamedTuple):
    """A room with a start, a key and a door: int32 ``[2]``, cells (x, y) that may coincide."""

    start: jax.Array
    key: jax.Array
    door: jax.Array


class KeyDoorState(NamedTuple):
    """State of one episode."""

    position: jax.Array  # int32 [2], cell of the agent (x, y)
    has_key: jax.Array  # bool scalar
    time: jax.Array  # int32 scalar, steps since the reset


@dataclasses.dataclass(frozen=True, kw_only=True)
class KeyDoor(Room):
    """Dark key-to-door (Grigsby et al. 2024): find a hidden key, then a hidden door.

    The first step that ends on the key pays 1 and picks it up; the first later step that
    ends on the door pays 1 and terminates the episode. Start, key and door are uniform
    over all cells and fixed for the trial. The observation is the position, whether the
    agent holds the key, and the fraction of the time limit that has passed. Actions are
    stay, up, right, down, left.

    Source: Grigsby et al. (2024), "AMAGO: scalable in-context reinforcement learning for
    adaptive agents", and its published code, after Laskin et al. (2022). Deviations:
    positions are scaled to [-1, 1], and the time limit is exactly ``episode_length`` steps,
    one fewer than in that code.

    Attributes:
      start: "random" draws the first cell once per task, "centre" starts all tasks
        in the centre.
    """

    start: Literal["random", "centre"] = "random"
    episode_length: Count = 50

    def build(self) -> TaskFamily:
        """The family; tasks are ``KeyDoorTask(start, key, door)``."""
        import jax
        import jax.numpy as jnp

        from metajax.core.family import Discrete, Spec
        from metajax.tasks.auto_reset import time_step, with_auto_reset
        from metajax.tasks.grid.base import MOVES, move, position_features, room_map

        num_features, observe_position = position_features(self.size, self.observation)

        def observe(state):
            rest = jnp.stack([state.has_key.astype(jnp.float32), state.time / self.episode_length])
            return jnp.concatenate([observe_position(state.position), rest])

        def sample(key):
            start, *cells = jax.random.randint(key, (3, 2), 0, self.size)
            if self.start == "centre":
                start = jnp.full(2, self.size // 2, jnp.int32)
            return KeyDoorTask(start, *cells)

        def reset(key, task):
            del key
            state = KeyDoorState(task.start, jnp.zeros((), bool), jnp.zeros((), jnp.int32))
            return state, time_step(observe(state))

        def advance(key, task, state, action):
            del key
            position, time = move(state.position, action, self.size), state.time + 1
            takes = ~state.has_key & jnp.all(position == task.key)
            opens = state.has_key & jnp.all(position == task.door)
            state = KeyDoorState(position, state.has_key | takes, time)
            truncated = (time >= self.episode_length) & ~opens
            return state, time_step(
                observe(state), takes | opens, terminated=opens, truncated=truncated
            )

        def optimal_return(task):
            # Shortest paths are city-block distances, and arriving takes at least one step.
            to_key = jnp.maximum(jnp.sum(jnp.abs(task.key - task.start)), 1)
            to_door = jnp.maximum(jnp.sum(jnp.abs(task.door - task.key)), 1)
            arrivals = jnp.stack([to_key, to_key + to_door])
            return jnp.sum(arrivals <= self.episode_length).astype(jnp.float32)

        spec = Spec(
            name="key-door",
            observation_shape=(num_features + 2,),
            action_space=Discrete(len(MOVES)),
            episode_length=self.episode_length,
            episodes_per_trial=self.num_episodes,
            random_return=self._expected_return(slip=1.0),
            oracle_return=self._expected_return(slip=0.0),
            optimal_return=optimal_return,
            grid=room_map(
                self.size, self.observation, lambda task: {"key": task.key, "door": task.door}
            ),
        )
        return with_auto_reset(spec, sample, reset, advance)

    def _expected_return(self, slip: float) -> float | None:
        """Expected return over tasks; None for a room where ``arrivals.is_too_large``.

        Backward induction over both halves of an episode, for every key and for every door.
        Once the key is held only its cell matters, so values are averaged over doors.

        Args:
          slip: 1 for the random policy, 0 for the optimal one.
        """
        import numpy as np

        from metajax.tasks.grid.base import MOVES
        from metajax.tasks.tabular.arrivals import back_up, is_too_large, successors

        successor = successors(np.ones((self.size, self.size), bool), MOVES)
        cells = np.arange(self.size**2)
        if is_too_large(len(cells), len(cells), self.episode_length):
            return None
        to_key = to_door = np.zeros((len(cells), len(cells)))
        for _ in range(self.episode_length):
            to_key = back_up(to_key, successor, cells, 1 + to_door.mean(axis=0), slip)
            to_door = back_up(to_door, successor, cells, 1.0, slip)
        if self.start == "random":
            return float(to_key.mean())
        centre = self.size // 2
        return float(to_key[:, centre * self.size + centre].mean())
