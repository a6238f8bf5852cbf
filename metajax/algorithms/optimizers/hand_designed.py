"""Hand-designed optimisers, the baselines of learned ones."""

from __future__ import annotations

import dataclasses
from typing import Annotated, ClassVar, Literal

from metajax.algorithms.optimizers.base import TrainsNetworks
from metajax.core.options import AtLeast, Below, Positive


@dataclasses.dataclass(frozen=True, kw_only=True)
class HandDesignedOptimizer(TrainsNetworks):
    """An optimiser of optax trains a network in every task: the baseline of learned optimisers.

    Nothing is learned across tasks; theta is the learning rate as it is given. An iteration of
    training runs ``num_tasks`` optimisations and reports their scores. The rate is to be tuned,
    as a row of a table does with ``tune``.

    Source: the baselines of Andrychowicz et al. (2016), section 3, tuned as theirs.

    Attributes:
      inner_optimizer: "sgd"; "momentum", SGD with heavy-ball momentum; "nag", SGD with Nesterov's
        accelerated gradient; "rmsprop"; or "adam".
      inner_lr: Learning rate of the optimiser.
      momentum: Decay of the momentum of "momentum" and "nag".
    """

    learns: ClassVar[bool] = False

    inner_optimizer: Literal["sgd", "momentum", "nag", "rmsprop", "adam"] = "adam"
    inner_lr: Positive = 0.01
    momentum: Annotated[float, AtLeast(0), Below(1)] = 0.9

    def initial(self, key):
        import jax.numpy as jnp

        return {"inner_lr": jnp.asarray(self.inner_lr, jnp.float32)}

    def optimizer_of(self, theta):
        import optax

        rate, momentum = theta["inner_lr"], self.momentum
        return {
            "sgd": lambda: optax.sgd(rate),
            "momentum": lambda: optax.sgd(rate, momentum),
            "nag": lambda: optax.sgd(rate, momentum, nesterov=True),
            "rmsprop": lambda: optax.rmsprop(rate),
            "adam": lambda: optax.adam(rate),
        }[self.inner_optimizer]()

    def outer_rule(self, problem):
        from metajax import outer

        return outer.untrained(problem, self.layout())
