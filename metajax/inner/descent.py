"""The learner that adapts by gradient steps: any loss, any rule, any part of the weights."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax

from metajax.core.family import Key, Tree
from metajax.core.options import OptionError
from metajax.core.types import Actor, Learner, Term
from metajax.inner.partition import EVERYTHING, Partition

Rule = Callable[[Tree], optax.GradientTransformation]
"""``(theta) -> optax.GradientTransformation``: an inner rule, learned or not."""


class DescentState(NamedTuple):
    """The fast state phi of one task.

    Attributes:
      fast: The adapted part of the weights.
      rule: State of the inner rule.
    """

    fast: Tree
    rule: Tree


def descent(
    init: Callable[[Key], Tree],
    predict: Callable[[Tree, Tree], Tree],
    loss: Term,
    rule: Rule,
    *,
    partition: Partition = EVERYTHING,
    start: Callable[[Key, Tree], Tree] | None = None,
    prepare: Callable[[Tree, Tree, Tree], Tree] | None = None,
    updates: int = 1,
    actor: Callable[[Callable[[Tree, Tree], Tree]], Actor] | None = None,
    singly: bool = True,
) -> Learner:
    """A learner that takes ``updates`` gradient steps on each chunk.

    ``fast <- fast + rule(theta)(gradient of loss(theta, predict(merge(theta, fast), data), data))``

    Args:
      init: ``(key) -> theta``: initial weights, and the parameters of a learned rule.
      predict: ``(weights, data) -> outputs``.
      loss: ``(theta, outputs, data) -> scalar``.
      rule: ``(theta) -> optax.GradientTransformation``. Its update gets, as optax's extra
        arguments, ``value``, ``grad`` and ``value_fn`` as line searches take them, and
        ``theta``, ``data`` and ``key``.
      partition: The part of theta that adapts. Default: all of it.
      start: ``(key, theta) -> fast`` at the start of a trial. Default: ``partition.split``.
      prepare: ``(theta, weights, data) -> data``, before each step: targets that the step
        takes for constants, but a meta-gradient differentiates.
      updates: Gradient steps on each chunk.
      actor: ``(weights_of) -> Actor``, where ``weights_of(theta, phi)`` gives the weights.
        Default: none, for labelled examples.
      singly: See ``metajax.Learner``.
    """

    def weights_of(theta, phi):
        return partition.merge(theta, phi.fast)

    def begin(key, theta):
        fast = partition.split(theta) if start is None else start(key, theta)
        return DescentState(fast, made(rule, theta).init(fast))

    def update(key, theta, phi, data):
        known = data if prepare is None else prepare(theta, weights_of(theta, phi), data)

        def objective(fast):
            return loss(theta, predict(partition.merge(theta, fast), known), known)

        value, gradients = jax.value_and_grad(objective)(phi.fast)
        search = {"value": value, "grad": gradients, "value_fn": objective}
        extra: Any = {**search, "theta": theta, "data": data, "key": key}
        steps, state = made(rule, theta).update(gradients, phi.rule, phi.fast, **extra)
        return DescentState(optax.apply_updates(phi.fast, steps), state)

    def adapt(key, theta, phi, data):
        if updates == 1:
            return update(key, theta, phi, data)
        keys = jax.random.split(key, updates)
        return jax.lax.scan(lambda phi, key: (update(key, theta, phi, data), None), phi, keys)[0]

    return Learner(
        init=init,
        begin=begin,
        adapt=adapt,
        predict=lambda theta, phi, data: predict(weights_of(theta, phi), data),
        weights=weights_of,
        actor=None if actor is None else actor(weights_of),
        singly=singly,
    )


def as_rule(inner: optax.GradientTransformation | Rule) -> Rule:
    """An inner rule as a function of theta.

    Raises:
      OptionError: for something else than an optax transformation or such a function.
    """
    if isinstance(inner, optax.GradientTransformation):
        return lambda theta: inner
    from_optax = getattr(inner, "__module__", "").startswith("optax.")
    if not callable(inner) or isinstance(inner, type) or from_optax:
        raise OptionError(
            "inner",
            f"{getattr(inner, '__name__', inner)} does not fit; allowed: an optax transformation "
            "such as optax.sgd(0.1), or a function theta -> optax transformation",
        )
    needed = [
        one
        for one in inspect.signature(inner).parameters.values()
        if one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
    ]
    if len(needed) != 1:
        names = ", ".join(one.name for one in needed)
        raise OptionError(
            "inner", f"takes ({names}); allowed: a function of theta -> optax transformation"
        )
    return inner


def made(rule: Rule, theta: Tree) -> optax.GradientTransformationExtraArgs:
    """The transformation of a rule, which takes extra arguments.

    Raises:
      OptionError: for a rule that gives something else.
    """
    found = rule(theta)
    if not isinstance(found, optax.GradientTransformation):
        raise OptionError(
            "inner",
            f"returns {type(found).__name__}; allowed: an optax transformation, for every theta",
        )
    return optax.with_extra_args_support(found)
