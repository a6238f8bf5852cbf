"""Fine-tuning of trained weights: added parameters, and rates for each layer.

Weights are those of ``metajax.networks.policy`` and ``predictor``: for each network a torso and,
beside it, the head.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax.traverse_util import flatten_dict, unflatten_dict

from metajax.core.family import Key, Tree

Start = Callable[[Key, Tree], Tree]
"""``(key, theta) -> fast``, the start of ``descent``."""
Merge = Callable[[Tree, Tree], Tree]
"""``(theta, fast) -> weights``, that of a ``Partition``."""


def low_rank(rank: int) -> tuple[Start, Merge]:
    """A product of two thin matrices added to each kernel, and vectors that move by themselves.

    ``kernel + down @ up`` with ``up`` zero at the start, which changes nothing, and ``down``
    (``[in, rank]``) Gaussian of variance ``1 / max(in, rank)``: in the directions that are left
    to it a kernel moves about as fast as by itself. Vectors are biases, the scales of a
    normalisation and the standard deviation of continuous actions. Without them, the same
    change at every input, such as the direction in which to leave a start, is out of reach of
    a small rank. Kernels of convolutions are frozen.

    Source: Hu et al. (2022), "LoRA: low-rank adaptation of large language models", section
    4.1, with their scale ``alpha / r`` equal to 1; the biases as with ``bias="all"`` in their
    published code.
    """

    def start(key, theta):
        flat: dict[str, Any] = flatten_dict(theta, sep="/")
        kernels = sorted(path for path, leaf in flat.items() if _is_kernel(path, leaf))
        vectors = {path: leaf for path, leaf in flat.items() if leaf.ndim < 2}

        def added(key, kernel):
            inputs, outputs = kernel.shape
            down = jax.random.normal(key, (inputs, rank), kernel.dtype) / max(inputs, rank) ** 0.5
            return {"down": down, "up": jnp.zeros((rank, outputs), kernel.dtype)}

        pairs = zip(jax.random.split(key, len(kernels)), kernels, strict=True)
        return {**vectors, **{path: added(key, flat[path]) for key, path in pairs}}

    def merge(theta, fast):
        flat: dict[str, Any] = flatten_dict(theta, sep="/")

        def moved(path, one):
            return flat[path] + one["down"] @ one["up"] if isinstance(one, dict) else one

        return unflatten_dict({**flat, **{path: moved(path, fast[path]) for path in fast}}, sep="/")

    return start, merge


def _is_kernel(path: str, leaf: jax.Array) -> bool:
    return path.endswith("/kernel") and leaf.ndim == 2


def adapters(init: Callable[[Key], Tree]) -> tuple[Start, Merge]:
    """The adapters of a torso and its head, all else frozen.

    Args:
      init: ``(key) -> weights`` of a network with adapters (``MLP(adapter_size=...)``), which
        theta lacks. They start anew in each trial and change nothing there.

    Source: Houlsby et al. (2019), "Parameter-efficient transfer learning for NLP", section 2.
    """

    def start(key, theta):
        def moving(weights, new):
            head = {name: leaf for name, leaf in weights.items() if name != "torso"}
            added = {name: leaf for name, leaf in new["torso"].items() if _is_adapter(name)}
            return {**head, "torso": added}

        new = init(key)
        return {network: moving(weights, new[network]) for network, weights in theta.items()}

    def merge(theta, fast):
        def merged(weights, moved):
            return {**weights, **moved, "torso": {**weights["torso"], **moved["torso"]}}

        return {network: merged(weights, fast[network]) for network, weights in theta.items()}

    return start, merge


def without_adapters(weights: Tree) -> Tree:
    """The weights of the same network without its adapters."""

    def plain(weights):
        torso = weights["torso"].items()
        return {**weights, "torso": {name: leaf for name, leaf in torso if not _is_adapter(name)}}

    return {network: plain(leaves) for network, leaves in weights.items()}


def _is_adapter(name: str) -> bool:
    return name.startswith("adapter_")


class LayerwiseState(NamedTuple):
    """Number of updates so far, int32."""

    steps: jax.Array


def scale_by_layer(
    factor: Callable[[int, jax.Array], float | jax.Array],
) -> optax.GradientTransformation:
    """Scales the updates of each layer of an MLP.

    Args:
      factor: ``(depth, count) -> factor``, where the head has depth 0, the last hidden layer
        1 and so on, and ``count`` is the number of updates before this one.
    """

    def update(updates, state, params=None):
        del params

        def scaled(depth, leaves):
            return jax.tree.map(lambda leaf: leaf * factor(depth, state.steps), leaves)

        def depths(name, layers):
            if name != "torso":
                return 0
            return {layer: len(layers) - int(layer.rpartition("_")[2]) for layer in layers}

        def of_network(weights):
            depth = {name: depths(name, leaves) for name, leaves in weights.items()}
            return jax.tree.map(scaled, depth, weights)

        after = {network: of_network(weights) for network, weights in updates.items()}
        return after, LayerwiseState(state.steps + 1)

    return optax.GradientTransformation(
        lambda params: LayerwiseState(jnp.zeros((), jnp.int32)), update
    )


def layer_decay(decay: float | jax.Array) -> optax.GradientTransformation:
    """A rate for each layer, which falls by the factor ``decay`` from layer to layer downwards.

    Source: "discriminative fine-tuning", Howard and Ruder (2018), "Universal language model
    fine-tuning for text classification", section 3.2, who take 1 / 2.6.
    """
    return scale_by_layer(lambda depth, count: decay**depth)


def gradual_unfreezing(period: int) -> optax.GradientTransformation:
    """Layers begin to move from the top: the head at once, one more every ``period`` updates.

    Source: Howard and Ruder (2018), section 3.3, where a period is an epoch.
    """
    return scale_by_layer(lambda depth, count: depth * period <= count)
