"""Blocks of convolutions, the usual torso in few-shot classification of images."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from metajax.core.layout import platform
from metajax.core.options import OptionError
from metajax.networks.mlp import ACTIVATIONS


class Convolutions(nn.Module):
    """Blocks of a 3x3 convolution, a normalisation, the activation and 2x2 max-pooling.

    Each block that pools halves height and width, rounded down.

    Args:
      filters: Number of filters of each block.
      activation: One of ``ACTIVATIONS``.
      num_pooled: Number of blocks, from the first, that pool. Default: all.
      flat: Whether the features of an image are a row; otherwise they are maps.

    Source: Vinyals et al. (2016), "Matching networks for one shot learning", section 4.1.1, and
    Snell et al. (2017), "Prototypical networks for few-shot learning", section 3.1: four blocks
    of 64 filters. Deviation: layer normalisation (Ba et al. 2016) of each image in place of
    batch normalisation, so that no prediction depends on the other query examples.
    """

    filters: tuple[int, ...] = (64, 64, 64, 64)
    activation: str = "relu"
    num_pooled: int | None = None
    flat: bool = True

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """Maps images ``[B, H, W, C]`` to features ``[B, F]``, or to maps ``[B, h, w, F]``.

        Raises OptionError for inputs that are not images, or too small for the blocks.
        """
        pooled = len(self.filters) if self.num_pooled is None else self.num_pooled
        check_images("conv_filters", images.shape[1:], len(self.filters[:pooled]))
        hidden, initial = images, nn.initializers.lecun_normal()
        for index, number in enumerate(self.filters):
            shape = 3, 3, hidden.shape[-1], number
            kernel = self.param(f"kernel_{index}", initial, shape)
            hidden = convolved(hidden, kernel, (1, 1))
            hidden = normalized(hidden, self.activation)
            hidden = max_pool(hidden) if index < pooled else hidden
        return hidden.reshape(hidden.shape[0], -1) if self.flat else hidden


def normalized(images: jax.Array, activation: str) -> jax.Array:
    """Activations of images ``[B, H, W, C]`` after layer normalisation, inside of a module."""
    norm = nn.LayerNorm(reduction_axes=(-3, -2, -1), feature_axes=-1)
    return ACTIVATIONS[activation](norm(images))


def convolved(images: jax.Array, kernel: jax.Array, padding: tuple[int, int]) -> jax.Array:
    """The convolution with stride 1 of images ``[B, H, W, C]`` and a kernel ``[h, w, C, F]``.

    Args:
      images, kernel: Arrays, which are brought to one dtype.
      padding: Number of zeros p on each side of both axes; the result has the height
        ``H + 2 p - h + 1``, and the width likewise.
    """
    dtype = jnp.result_type(images, kernel)
    convolve = _on_cpu if platform() == "cpu" else _convolved
    return convolve(images.astype(dtype), kernel.astype(dtype), padding)


def max_pool(images: jax.Array) -> jax.Array:
    """The largest of each 2x2 window, ``[B, H, W, C]`` to ``[B, H // 2, W // 2, C]``.

    On a CPU the gradient of a maximum over axes is several times faster than that of a window
    reduction.
    """
    batch, height, width, channels = images.shape
    even = images[:, : height // 2 * 2, : width // 2 * 2]
    windows = even.reshape(batch, height // 2, 2, width // 2, 2, channels)
    return jnp.max(windows, axis=(2, 4))


def _convolved(images, kernel, padding):
    return jax.lax.conv_general_dilated(
        images,
        kernel,
        (1, 1),
        [(one, one) for one in padding],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _on_cpu(images, kernel, padding):
    """The same with gradients of any order that are convolutions of the same order of axes.

    Inside of loops, the CPU compiler has fast code for this order alone.
    """
    return _convolved(images, kernel, padding)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _of_kernel(images, bar, padding):
    """The gradient in the kernel, bilinear in the images and the gradient of the result.

    Differentiated as the convolution that it is, it would be one with a kernel of the size of
    the images, almost all of it over zeros.
    """
    turned = images.transpose(3, 1, 2, 0), bar.transpose(1, 2, 0, 3)
    return _convolved(*turned, padding).transpose(1, 2, 0, 3)


def _of_images(bar, kernel, padding):
    """The gradient in the images, bilinear in the kernel and the gradient of the result."""
    turned = jnp.swapaxes(kernel[::-1, ::-1], 2, 3)
    left: Any = tuple(side - 1 - one for side, one in zip(kernel.shape, padding, strict=False))
    return _on_cpu(bar, turned, left)


def _backward(padding, arguments, bar):
    images, kernel = arguments
    return _of_images(bar, kernel, padding), _of_kernel(images, bar, padding)


def _backward_of_kernel(padding, arguments, kernel):
    images, bar = arguments
    return _of_images(bar, kernel, padding), _on_cpu(images, kernel, padding)


_on_cpu.defvjp(lambda *given: (_on_cpu(*given), given[:2]), _backward)
_of_kernel.defvjp(lambda *given: (_of_kernel(*given), given[:2]), _backward_of_kernel)


def check_images(field: str, shape: tuple[int, ...], num_blocks: int) -> None:
    """Raises OptionError for inputs that so many blocks cannot halve."""
    least = 2**num_blocks
    if len(shape) != 3 or min(shape[:2]) < least:
        raise OptionError(
            field,
            f"{num_blocks} blocks do not fit inputs of shape {shape}; allowed: images "
            f"(height, width, channels) of at least {least} x {least}, or no blocks",
        )
