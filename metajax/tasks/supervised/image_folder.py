"""Few-shot classification of images on disk."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Literal

from metajax.core.options import AtLeast, AtMost, Below, Options, check

if TYPE_CHECKING:
    from metajax.core.family import DataFamily

Share = Annotated[float, AtLeast(0), Below(1)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageFolder(Options):
    """Image folder: few-shot classification of images on disk, a folder for each class.

    Every folder below ``path`` that holds images is a class: ``CLASS/IMAGE``, or deeper, as
    ``ALPHABET/CHARACTER/IMAGE`` of Omniglot. Images are PNG, JPEG, BMP or GIF files; other
    files, and names with a dot in front, are left alone. Links are refused. The images of a
    split are read once, when the family is built, and every program that draws from them
    holds them as bytes.

    Classes are divided between the splits at random, and each task draws its classes in one
    split. Support and query examples of a task are different images. Inputs
    ``[size, size, channels]`` are in [0, 1].

    Attributes:
      path: Directory of the folders.
      split: Classes to draw from: "train", "validation" or "test".
      validation_fraction: Fraction of the classes in the split "validation".
      test_fraction: Fraction of the classes in the split "test".
      seed: Seed of the division of classes.
      num_classes: Number of classes of a task.
      size: Height and width that images are resized to, in pixels.
      color: Whether to read red, green and blue instead of grey.
    """

    path: str = ""
    split: Literal["train", "validation", "test"] = "train"
    validation_fraction: Share = 0.1
    test_fraction: Share = 0.2
    seed: Annotated[int, AtLeast(0)] = 0
    num_classes: Annotated[int, AtLeast(2)] = 5
    size: Annotated[int, AtLeast(1), AtMost(1024)] = 28
    color: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        rest = 1 - self.validation_fraction - self.test_fraction
        allowed = "less than 1 together with validation_fraction"
        check(rest > 0, "test_fraction", self.test_fraction, allowed)

    def build(self) -> DataFamily:
        """The family; a task is the numbers of its classes in the split, int32 ``[num_classes]``.

        Raises OptionError naming ``path`` for a directory, files or classes that do not fit.
        """
        import jax
        import jax.numpy as jnp
        import numpy as np

        from metajax.core.family import DataFamily, DataSpec, Examples
        from metajax.tasks.supervised.image_files import read_images

        shares = {"validation": self.validation_fraction, "test": self.test_fraction}
        classes = read_images(self.path, self.split, shares, self.seed, self.size, self.color)
        allowed = f"from 2 to {len(classes)}, the classes of the split {self.split}"
        check(self.num_classes <= len(classes), "num_classes", self.num_classes, allowed)
        counts = np.array([len(images) for images in classes.values()])
        starts, fewest = np.cumsum(counts) - counts, counts.min()
        pixels = jnp.asarray(np.concatenate([*classes.values()]))
        smallest = [*classes][counts.argmin()]

        def sample(key):
            chosen = jax.random.choice(key, len(classes), (self.num_classes,), replace=False)
            return chosen.astype(jnp.int32)

        def draw(key, task, num_examples):
            shots = -(-num_examples // self.num_classes)
            allowed = (
                f"at most {fewest * self.num_classes} examples of a task, support and query "
                f"together, as {smallest} holds {fewest} images"
            )
            check(shots <= fewest, "num_streams", num_examples, allowed)
            noise = jax.random.uniform(key, (self.num_classes, counts.max()))
            mine = jnp.arange(counts.max()) < jnp.asarray(counts)[task][:, None]
            order = jnp.argsort(jnp.where(mine, noise, 2.0), axis=1)
            rows = jnp.asarray(starts)[task][:, None] + order
            labels = jnp.arange(num_examples, dtype=jnp.int32) % self.num_classes
            drawn = rows[labels, jnp.arange(num_examples) // self.num_classes]
            return Examples(pixels[drawn].astype(jnp.float32) / 255, labels)

        def draw_any(key, task, num_examples):
            del task
            key_class, key_image = jax.random.split(key)
            labels = jax.random.randint(key_class, (num_examples,), 0, len(classes))
            share = jax.random.uniform(key_image, (num_examples,))
            drawn = jnp.asarray(starts)[labels] + jnp.int32(share * jnp.asarray(counts)[labels])
            return Examples(pixels[drawn].astype(jnp.float32) / 255, labels)

        spec = DataSpec("image-folder", pixels.shape[1:], self.num_classes, classes=True)
        all_classes = dataclasses.replace(spec, num_outputs=len(classes))
        pool = DataFamily(all_classes, lambda key: (), draw_any)
        return DataFamily(spec, sample, draw, finite=True, pool=pool)
