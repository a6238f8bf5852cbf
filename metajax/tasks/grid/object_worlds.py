"""Distributions of grid worlds with objects."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from metajax.tasks.grid.base import MOVES


class ObjectWorld(NamedTuple):
    """A grid world: cells ``x * side + y`` of a square, n objects.

    Attributes:
      walls: Bool ``[side**2]``, cells that cannot be entered.
      start: Int32, first cell of an episode.
      cells: Int32 ``[n]``, where objects are.
      present: Bool ``[n]``; objects that are not are never there.
      reward: ``[n]``, of collecting an object.
      terminates: ``[n]``, probability that collecting it ends the episode.
      respawns: ``[n]``, probability per step that a collected object is there again.
      length: Int32, time limit in steps.
    """

    walls: jax.Array
    start: jax.Array
    cells: jax.Array
    present: jax.Array
    reward: jax.Array
    terminates: jax.Array
    respawns: jax.Array
    length: jax.Array


class Fixed(NamedTuple):
    """A distribution in which only the cells of start and objects differ between tasks."""

    side: int
    length: int
    reward: tuple[float, ...]
    terminates: tuple[float, ...]
    respawns: tuple[float, ...]

    def sample(self, key: jax.Array) -> ObjectWorld:
        """Draws a world."""
        number = len(self.reward)
        walls = jnp.zeros(self.side**2, bool)
        start, *cells = _free_cells(key, walls, 1 + number)
        return ObjectWorld(
            walls,
            start,
            jnp.stack(cells),
            jnp.ones(number, bool),
            reward=jnp.asarray(self.reward, jnp.float32),
            terminates=jnp.asarray(self.terminates, jnp.float32),
            respawns=jnp.asarray(self.respawns, jnp.float32),
            length=jnp.full((), self.length, jnp.int32),
        )


class Varied(NamedTuple):
    """A distribution of worlds of other sides, walls, numbers and kinds of objects, and lengths.

    Pairs are the least and the most of what is drawn: sides and numbers of objects uniformly,
    lengths log-uniformly.
    """

    sides: tuple[int, int]
    lengths: tuple[int, int]
    objects: tuple[int, int]
    num_walls: int

    @property
    def side(self) -> int:
        """The largest side."""
        return self.sides[1]

    @property
    def length(self) -> int:
        """The longest time limit."""
        return self.lengths[1]

    @property
    def reward(self) -> tuple[float, ...]:
        """As many numbers as there can be objects."""
        return (0.0,) * self.objects[1]

    def sample(self, key: jax.Array) -> ObjectWorld:
        """Draws a world."""
        number, (least, most) = self.objects[1], self.lengths
        keys = jax.random.split(key, 8)
        side = jax.random.randint(keys[0], (), self.sides[0], self.side + 1)
        x, y = np.divmod(np.arange(self.side**2), self.side)
        inside = (x < side) & (y < side)
        walls = jax.random.permutation(keys[1], np.arange(self.side**2) < self.num_walls)
        walls = walls | ~inside
        start, *cells = _free_cells(keys[2], walls, 1 + number)
        present = jnp.arange(number) < jax.random.randint(keys[3], (), self.objects[0], number + 1)
        # The first object is worth collecting.
        low = jnp.full(number, -1.0, jnp.float32).at[0].set(0)
        reward = jax.random.uniform(keys[4], (number,), jnp.float32, low, 1.0)
        terminates = _log_uniform(keys[5], (number,), 1e-2, 1.0)
        respawns = _log_uniform(keys[6], (number,), 1e-3, 1e-1)
        length = jnp.round(_log_uniform(keys[7], (), least, most)).astype(jnp.int32)
        return ObjectWorld(
            walls, start, jnp.stack(cells), present, reward, terminates, respawns, length
        )


WORLDS: dict[str, Fixed | Varied] = {
    "dense": Fixed(11, 500, (1, 1, -1, -1), (0, 0, 0.5, 0), (0.05, 0.05, 0.1, 0.5)),
    "sparse": Fixed(13, 50, (1, -1), (1, 1), (0, 0)),
    "long": Fixed(11, 1000, (1, 1, -1, -1), (0, 0, 0.5, 0.5), (0.01, 0.01, 1, 1)),
    "small": Varied((4, 6), (20, 100), (1, 3), 7),
    "medium": Varied((6, 8), (100, 250), (2, 4), 10),
    "large": Varied((8, 10), (250, 750), (2, 5), 15),
}
"""Distributions by name."""


def _free_cells(key: jax.Array, walls: jax.Array, number: int) -> jax.Array:
    """Different cells without a wall, int32 ``[number]``."""
    noise = jax.random.uniform(key, walls.shape, jnp.float32)
    return jax.lax.top_k(jnp.where(walls, -1.0, noise), number)[1].astype(jnp.int32)


def _log_uniform(key: jax.Array, shape: tuple[int, ...], low: float, high: float) -> jax.Array:
    exponent = jax.random.uniform(key, shape, jnp.float32, jnp.log(low), jnp.log(high))
    return jnp.exp(exponent)


def moved(world: ObjectWorld, side: int, cell: jax.Array, action: jax.Array) -> jax.Array:
    """The cell after a move; the agent stays where a wall or the end of the square is."""
    x, y = jnp.divmod(cell, side)
    step = jnp.asarray(MOVES)[jnp.clip(action, 0, 4)]
    x, y = jnp.clip(x + step[0], 0, side - 1), jnp.clip(y + step[1], 0, side - 1)
    reached = x * side + y
    return jnp.where(world.walls[reached], cell, reached).astype(jnp.int32)


def optimal_return(world: ObjectWorld, side: int, longest: int) -> jax.Array:
    """Expected return of an episode of the best policy that knows the world: value iteration.

    Args:
      world: The world.
      side: Side of the square.
      longest: The longest time limit there is.
    """
    number = len(world.reward)
    there = (np.arange(2**number)[:, None] >> np.arange(number)) % 2 == 1  # [C, n]
    appears = jnp.where(there, 1.0, world.respawns * world.present)  # [C, n]

    def after(collected):
        """Probabilities ``[C, C]`` of which objects are there next."""
        chance = appears * (np.arange(number) != collected)
        return jnp.prod(jnp.where(there[None], chance[:, None], 1 - chance[:, None]), axis=-1)

    nothing, each = after(-1), [after(one) for one in range(number)]
    actions = np.arange(len(MOVES))
    cells = jnp.arange(side**2)
    reached = jax.vmap(lambda cell: jax.vmap(lambda a: moved(world, side, cell, a))(actions))(cells)

    def sweep(value, steps_left):
        arriving = value @ nothing.T  # [S, C]
        for one, chances in enumerate(each):
            cell = world.cells[one]
            goes_on = (1 - world.terminates[one]) * (value[cell] @ chances.T)
            collected = there[:, one] & world.present[one]
            paid = jnp.where(collected, world.reward[one] + goes_on, arriving[cell])
            arriving = arriving.at[cell].set(paid)
        best = jnp.max(arriving[reached], axis=1)
        return jnp.where(steps_left < world.length, best, value), None

    value = jnp.zeros((side**2, 2**number), jnp.float32)
    value, _ = jax.lax.scan(sweep, value, jnp.arange(longest))
    return value[world.start, jnp.sum(world.present * 2 ** np.arange(number))]
