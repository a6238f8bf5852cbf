"""Dark key-to-door: find the key, then the door, without light."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

from metajax.core.options import AtLeast, Count, Options

if TYPE_CHECKING:
    import jax

    from metajax.core.types import TaskFamily


class KeyDoorTask(NamedTuple):
    """A room with a key and a door; cells may coincide.

    Attributes:
      start, key, door: int32 ``[2]``.
    """

    start: jax.Array
    key: jax.Array
    door: jax.Array


class KeyDoorState(NamedTuple):
    """The state of one episode.

    Attributes:
      position: int32 ``[2]``.
      has_key: bool.
      time: int32 scalar, steps since the reset.
    """

    position: jax.Array
    has_key: jax.Array
    time: jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class KeyDoor(Options):
    """Options of ``key-door``.

    The first step of an episode that ends on the key pays 1 and takes it. The first
    later step that ends on the door pays 1 and terminates the episode. Neither is
    shown. Actions are stay, up, right, down, left. Key and door are uniform over all
    cells, and so is the start, which like them stays the same in all episodes of a
    trial.

    Follows Grigsby et al. 2024, "AMAGO: scalable in-context reinforcement learning for
    adaptive agents", and its published code, after Laskin et al. 2022. An observation
    is, as there, the position, whether one has the key, and the fraction of the time
    that has passed. Here positions are scaled to [-1, 1] and an episode is cut after
    exactly ``episode_length`` steps, one fewer than in that code.

    Attributes:
      size: cells a side.
      start: ``"random"`` as above, or ``"centre"``, the same in all tasks.
      observation: of the position: ``"coordinates"``, x and y, or the cell
        ``"one-hot"``.
      episode_length: time limit in steps.
      num_episodes: episodes of a trial.
    """

    size: Annotated[int, AtLeast(2)] = 9
    start: Literal["random", "centre"] = "random"
    observation: Literal["coordinates", "one-hot"] = "coordinates"
    episode_length: Count = 50
    num_episodes: Count = 10

    def build(self) -> TaskFamily:
        """The family; tasks are ``KeyDoorTask(start, key, door)``."""
        import jax
        import jax.numpy as jnp

        from metajax.core.types import Discrete, Spec, TimeStep
        from metajax.tasks.auto_reset import with_auto_reset
        from metajax.tasks.grid.base import MOVES, move, position_features

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
            no = jnp.zeros((), bool)
            state = KeyDoorState(task.start, no, jnp.zeros((), jnp.int32))
            seen = observe(state)
            return state, TimeStep(seen, jnp.zeros((), jnp.float32), no, no, seen)

        def advance(key, task, state, action):
            del key
            position, time = move(state.position, action, self.size), state.time + 1
            takes = ~state.has_key & jnp.all(position == task.key)
            opens = state.has_key & jnp.all(position == task.door)
            state = KeyDoorState(position, state.has_key | takes, time)
            seen, truncated = observe(state), (time >= self.episode_length) & ~opens
            reward = (takes | opens).astype(jnp.float32)
            return state, TimeStep(seen, reward, opens, truncated, seen)

        def optimal_return(task):
            """Shortest ways have no obstacles, and each takes a step at least."""
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
        )
        return with_auto_reset(spec, sample, reset, advance)

    def _expected_return(self, slip: float) -> float | None:
        """Mean over tasks: of the random policy (``slip=1``) or the best one (0).

        None for rooms that ``arrivals.is_too_large`` names.

        By backward induction over both halves of an episode, for every key and for
        every door. With the key in hand its cell alone matters, so doors are averaged.
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
