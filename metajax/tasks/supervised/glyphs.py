"""Few-shot classification of drawn signs."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Literal

from metajax.core.options import AtLeast, NonNegative, Options, check

if TYPE_CHECKING:
    import jax

    from metajax.core.family import DataFamily, Key

SPLITS = {"train": (0, 4000), "validation": (4000, 500), "test": (4500, 500)}
"""First class of each split, and the number of its classes."""
MIN_STROKES, MAX_STROKES = 2, 4
NUM_POINTS = 24
"""Points of each stroke at which the pen puts ink."""
WIDTH = 0.025
"""Standard deviation of the ink around a point, in sides of the image."""
DENSITY = 2.0
JITTER, SLANT, SHIFT, PRESSURE = 0.03, 0.12, 0.04, 0.15
"""Standard deviations of what differs between examples: the control points, the entries of the
linear map, the position, and the logarithm of the width."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Glyphs(Options):
    """Glyphs: few-shot classification of signs drawn with random strokes.

    A procedural stand-in for Omniglot (Lake et al. 2015), which takes no download. A class is
    two to four random quadratic Bezier curves. Its examples are drawn anew each time: with
    displaced control points, a random linear map near the identity, another position and
    another width of the pen. The images ``[size, size, 1]`` hold 0 for paper and up to 1 for
    ink. Each task draws its classes among those of the split, which no other split has.

    Attributes:
      split: Classes to draw from: "train" (4000), "validation" or "test" (500 each).
      num_classes: Number of classes of a task.
      size: Height and width of an image, in pixels.
      variation: Factor of all differences between the examples of a class; 0 draws them alike.
      seed: Seed of all classes: another one is another script.
    """

    split: Literal["train", "validation", "test"] = "train"
    num_classes: Annotated[int, AtLeast(2)] = 5
    size: Annotated[int, AtLeast(8)] = 28
    variation: NonNegative = 1.0
    seed: Annotated[int, AtLeast(0)] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        most = SPLITS[self.split][1]
        allowed = f"from 2 to {most}, the classes of the split"
        check(self.num_classes <= most, "num_classes", self.num_classes, allowed)

    def build(self) -> DataFamily:
        """The family; a task is the numbers of its classes, int32 ``[num_classes]``."""
        import jax
        import jax.numpy as jnp

        from metajax.core.family import DataFamily, DataSpec, Examples

        first, number = SPLITS[self.split]

        def sample(key):
            # A choice without replacement, in a tenth of the time of sorting all numbers.
            return first + jax.lax.top_k(jax.random.uniform(key, (number,)), self.num_classes)[1]

        def draw(key, task, num_examples):
            classes = jnp.arange(num_examples, dtype=jnp.int32) % self.num_classes
            of_classes = jax.vmap(lambda number: strokes(self.seed, number))(task)
            curves, ink = jax.tree.map(lambda leaf: leaf[classes], of_classes)
            images = written(key, curves, ink, self.size, self.variation)
            return Examples(images, classes)

        def draw_any(key, task, num_examples):
            del task
            key_class, key_image = jax.random.split(key)
            classes = jax.random.randint(key_class, (num_examples,), 0, number)
            curves, ink = jax.vmap(lambda one: strokes(self.seed, first + one))(classes)
            return Examples(written(key_image, curves, ink, self.size, self.variation), classes)

        spec = DataSpec("glyphs", (self.size, self.size, 1), self.num_classes, classes=True)
        all_classes = dataclasses.replace(spec, num_outputs=number)
        pool = DataFamily(all_classes, lambda key: (), draw_any)
        return DataFamily(spec, sample, draw, pool=pool)


def strokes(seed: int, number: jax.Array | int) -> tuple[jax.Array, jax.Array]:
    """A class: control points ``[strokes, 3, 2]``, and 1 or 0 for strokes with ink, ``[strokes]``.

    The control points are in sides of the image, to the right and down. The middle one, which
    a curve does not reach, lies in a wider range.
    """
    import jax
    import jax.numpy as jnp

    key = jax.random.fold_in(jax.random.key(seed), number)
    # One draw for all: a generator costs a second to compile.
    drawn = jax.random.uniform(key, (6 * MAX_STROKES + 1,))
    spread = jnp.array([[0.7], [1.2], [0.7]])
    used = MIN_STROKES + jnp.floor(drawn[-1] * (MAX_STROKES - MIN_STROKES + 1))
    curves = 0.5 + spread * (drawn[:-1].reshape(MAX_STROKES, 3, 2) - 0.5)
    return curves, (jnp.arange(MAX_STROKES) < used).astype(curves.dtype)


def written(
    key: Key, curves: jax.Array, ink: jax.Array, size: int, variation: float | jax.Array = 1.0
) -> jax.Array:
    """Images ``[n, size, size, 1]`` of n examples, each written with other variations.

    The ink of a pixel is ``1 - exp(-DENSITY * sum of exp(-distance^2 / (2 width^2)))`` over the
    points of all strokes. The exponential is a product over the two axes, so that the sum is
    a matrix product.

    Args:
      key: Random key.
      curves: Control points of the class of each example, ``[n, strokes, 3, 2]``.
      ink: 1 or 0 for each stroke, ``[n, strokes]``.
      size: Height and width, pixels.
      variation: Factor of all variations.
    """
    import jax
    import jax.numpy as jnp

    number = curves.shape[0]
    # One draw for all: a generator costs a second to compile.
    places = curves[0].size
    noise = variation * jax.random.normal(key, (number, places + 7))
    jitter, linear, shift, pressure = jnp.split(noise, [places, places + 4, places + 6], axis=1)

    t = jnp.linspace(0.0, 1.0, NUM_POINTS)
    bernstein = jnp.stack([(1 - t) ** 2, 2 * t * (1 - t), t**2], axis=-1)
    points = bernstein @ (curves + JITTER * jitter.reshape(curves.shape))
    points = points.reshape(number, -1, 2) - 0.5
    moved = points @ (SLANT * linear.reshape(number, 2, 2)) + SHIFT * shift[:, None]
    points = 0.5 + points + moved
    pixels = (jnp.arange(size) + 0.5) / size
    width = WIDTH * jnp.exp(PRESSURE * pressure)[:, None]
    across, down = (
        jnp.exp(-0.5 * jnp.square((pixels - points[..., axis, None]) / width)) for axis in (0, 1)
    )
    amount = DENSITY * jnp.repeat(ink, NUM_POINTS, axis=1)[..., None]
    return -jnp.expm1(-jnp.swapaxes(down, 1, 2) @ (amount * across))[..., None]
