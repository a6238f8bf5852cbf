"""Inputs of learned optimisers: the layer of a weight, and the activity of its unit."""

import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.tree_util import keystr, tree_flatten_with_path

from metajax.core.family import Tree
from metajax.inner.descent import Rule, made

ACTIVITY_FLOOR = 1e-8
"""Constant added to the mean activity of a layer before it divides."""


def layer_places(weights: Tree) -> Tree:
    """Place of each array's layer in its network, numbers of the structure of the weights.

    0 for the first layer, 1 for the last, in even steps; 0 for a single one. Layers are the
    dicts that hold arrays, in the order of the numbers in their names; a head beside an entry
    ``torso`` comes after it. Networks are the dicts that hold layers.

    Source: the layer proportion of Goldie et al. (2024), "Can learned optimization make
    reinforcement learning less difficult?".
    """
    flat, structure = tree_flatten_with_path(weights)
    paths = [tuple(keystr(path, simple=True, separator="/").split("/")) for path, _ in flat]
    torsos = {path[: path.index("torso")] for path in paths if "torso" in path}

    def place(path: tuple[str, ...]) -> tuple[tuple[str, ...], tuple]:
        if "torso" in path:
            start = path.index("torso")
            return path[:start], (0, *map(_natural, path[start + 1 : -1]))
        for torso in torsos:
            if path[: len(torso)] == torso:
                return torso, (1,)
        return path[:-2], (0, *map(_natural, path[-2:-1]))

    places = [place(path) for path in paths]
    layers: dict[tuple[str, ...], set] = {}
    for network, layer in places:
        layers.setdefault(network, set()).add(layer)
    ordered = {network: sorted(some) for network, some in layers.items()}
    numbers = [
        ordered[network].index(layer) / max(1, len(ordered[network]) - 1)
        for network, layer in places
    ]
    return structure.unflatten(numbers)


def _natural(name: str) -> tuple:
    """A key that sorts "Dense_2" before "Dense_10"."""
    return tuple((1, int(one), "") if one.isdigit() else (0, 0, one) for one in _parts(name))


def _parts(name: str) -> list[str]:
    return re.findall(r"\d+|\D+", name)


def dormancy(weights: Tree, activity: Tree) -> Tree:
    """How active each unit is, relative to its layer: an array that fits each of the weights.

    ``activity_u / mean over the layer of activity``: 0 for a dormant unit, 1 for one like the
    others. It stands for the weights into the unit and its bias alike, ``[F]``.

    Args:
      weights: Weights ``[..., F]`` of layers of F units, in dicts.
      activity: Mean absolute output ``[F]`` of each unit, at the place of its layer's dict.
        Arrays of layers without one get 1.

    Source: Goldie et al. (2024), after Sokar et al. (2023), "The dormant neuron
    phenomenon in deep reinforcement learning", definition 3.1.
    """
    known = {keystr(path): leaf for path, leaf in tree_flatten_with_path(activity)[0]}
    flat, structure = tree_flatten_with_path(weights)

    def of_array(path, leaf):
        size = known.get(keystr(path[:-1]))
        if size is None:
            return jnp.ones((), leaf.dtype)
        return (size / (jnp.mean(size) + ACTIVITY_FLOOR)).astype(leaf.dtype)

    return structure.unflatten([of_array(path, leaf) for path, leaf in flat])


def told_dormancy(rule: Rule, activity: Callable[[Tree, jax.Array], Tree]) -> Rule:
    """The rule whose update is given ``dormancy`` for the observations that it learns from.

    Args:
      rule: A rule that reads it.
      activity: ``(weights, observation [B, O]) ->`` mean absolute outputs of units, as
        ``dormancy`` takes them.
    """

    def told(theta: Tree) -> optax.GradientTransformationExtraArgs:
        given = made(rule, theta)

        def update(updates: Tree, state: Tree, params: Any = None, **extra: Any):
            seen = extra["data"].observation
            known = dormancy(params, activity(params, seen.reshape(-1, *seen.shape[2:])))
            return given.update(updates, state, params, dormancy=known, **extra)

        return optax.GradientTransformationExtraArgs(given.init, update)

    return told
