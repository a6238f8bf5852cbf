"""DQN whose settings, exploration and network are found by evolution."""

from __future__ import annotations

import dataclasses
from typing import Annotated, ClassVar, Literal

from metajax.algorithms.q.base import QBased
from metajax.algorithms.settings.base import check_learned, initial, recorded, settings
from metajax.core.options import (
    AtLeast,
    Count,
    Fraction,
    NonNegative,
    Positive,
    check,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ESDQN(QBased):
    """Evolved DQN: settings, exploration and network size by evolution strategies.

    A DQN learns from random weights in every task; all about it that is not its weights is
    learned across tasks. Theta has three parts. ``settings``: a number each, the logit of what
    lies between 0 and 1 and the logarithm of what is positive. ``exploration``: a small network
    that gives epsilon (and with "boltzmann" the temperature) for each decision, from action
    values, visits and time (see ``metajax.inner.learned_exploration``). ``architecture``: a
    score for each width and each depth of the MLP, of which the largest counts. Phi is all of a
    DQN, and how often its task's states have been visited.

    A meta-iteration is a generation of an evolution strategy: ``population_size`` members
    live through the same ``num_tasks`` lifetimes.

    Source: Salimans et al. (2017), "Evolution strategies as a scalable alternative to
    reinforcement learning", for "open-es"; Wierstra et al. (2014), "Natural evolution strategies",
    for "snes"; what theta is made of is ours.

    Attributes:
      num_tasks: Number of lifetimes N of each member.
      learned: Names of the learned settings, each of which starts from its option's value;
        "learning_rate" is that of the network's optimiser and starts from ``inner_lr``. The other
        settings stay at their option's value.
      inner_lr: Step size of the network's optimiser.
      explorer_sizes: Units of each layer of the exploration network; "none" for the schedule of
        ``epsilon`` instead of a network.
      visit_bits: Base-2 logarithm of the number of counters of visits.
      widths: Numbers of units of a layer to choose among; "none" for ``hidden_sizes`` as given.
      depths: Numbers of layers to choose among.
      strategy: Evolution strategy of evosax (see ``metajax.outer.evosax_search``).
      population_size: Number of members P in a generation.
      std: Standard deviation of the members around theta at the start, the same in all
        directions.
      learning_rate: Step size of the mean in "open-es" and "pgpe"; the other strategies have
        none. Default: that of evosax.
      fitness: Measure of a member: "area" under the learning curve, sampled at the
        ``num_points`` of a lifetime, or its "last" point.
    """

    learnable: ClassVar[tuple[str, ...]] = (
        *("learning_rate", "discount", "epsilon", "huber_delta", "target_rate"),
    )

    num_tasks: Count = 4
    inner_lr: Positive = 2.5e-4
    target_rate: Fraction = 0.02
    target_period: Count = 1
    learned: tuple[str, ...] = ("learning_rate", "discount", "huber_delta", "target_rate")
    explorer_sizes: tuple[Count, ...] | None = (8,)
    visit_bits: Count = 10
    widths: tuple[Count, ...] | None = (16, 64)
    depths: tuple[Count, ...] = (1, 2)
    strategy: Literal["cma-es", "open-es", "pgpe", "snes"] = "snes"
    population_size: Annotated[int, AtLeast(2)] = 32
    std: Positive = 0.5
    learning_rate: NonNegative | None = None
    fitness: Literal["area", "last"] = "area"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_learned(self.learned, self.learnable, self._starts())
        fits = self.explorer_sizes is None or "epsilon" not in self.learned
        allowed = 'no epsilon, as the exploration network gives it; or explorer_sizes = "none"'
        check(fits, "learned", self.learned, allowed)
        for name in ("widths", "depths"):
            check(getattr(self, name) != (), name, (), "at least one")
        allowed = '"none" with convolutions or a network of your own'
        check(self.is_mlp or self.widths is None, "widths", self.widths, allowed)
        some = self.learned or self.explorer_sizes is not None or self.widths is not None
        allowed = "at least one name where neither explorer_sizes nor widths are given"
        check(some, "learned", self.learned, allowed)

    @property
    def num_trials(self):
        return self.num_tasks * self.population_size

    def _starts(self):
        starts = {name: getattr(self, name) for name in self.learnable}
        return {**starts, "learning_rate": self.inner_lr, "epsilon": self.epsilon[1]}

    @property
    def schedules(self):
        return self.learned + (() if self.widths is None else ("width", "depth"))

    def sizes(self, theta):
        """The ``width`` and ``depth`` of the network; empty where they are not learned."""
        import jax.numpy as jnp

        if self.widths is None:
            return {}
        choices = {"width": self.widths, "depth": self.depths}
        scores = zip(choices.items(), theta["architecture"], strict=True)
        return {name: jnp.asarray(sizes)[jnp.argmax(one)] for (name, sizes), one in scores}

    def values(self, family):
        from metajax import networks

        if self.widths is None:
            return super().values(family)
        largest = networks.MaskedMLP(max(self.widths), max(self.depths), self.activation)
        return networks.q_network(family.spec, largest, dueling=self.dueling)

    def settings(self, theta, env_steps):
        now = settings(theta["settings"])
        epsilon = self.epsilon_after(env_steps, now.pop("epsilon", self.epsilon[1]))
        return super().settings(theta, env_steps)._replace(epsilon=epsilon, **now)

    def explorer(self, family):
        """Initial parameters of the exploration network, and the exploration; None without one."""
        from metajax import inner

        if self.explorer_sizes is None:
            return (lambda key: {}), None
        return inner.learned_exploration(
            family.spec,
            self.lifetime,
            hidden_sizes=self.explorer_sizes,
            num_bits=self.visit_bits,
            parameters=lambda theta: theta["exploration"],
        )

    def learner(self, family, replay, **changes):
        import jax.numpy as jnp

        from metajax import networks

        values = self.values(family)
        init_explorer, exploration = self.explorer(family)
        choices = () if self.widths is None else (self.widths, self.depths)

        def init(key):
            return {
                "settings": initial(self.learned, self._starts()),
                "exploration": init_explorer(key),
                "architecture": tuple(jnp.zeros(len(sizes)) for sizes in choices),
            }

        def start(key, theta):
            weights = values.init(key)
            sizes = self.sizes(theta)
            return networks.resize(weights, *sizes.values()) if sizes else weights

        mine = {"init": init, "start": start, "exploration": exploration}
        return super().learner(family, replay, **{**mine, **changes})

    def outer_rule(self, problem, layout):
        from metajax import outer

        search = outer.evosax_search(
            self.strategy, self.population_size, std=self.std, learning_rate=self.learning_rate
        )
        rule = outer.evolution(problem, layout, search, fitness=outer.FITNESS[self.fitness])
        return recorded(
            rule, lambda theta, carry: {**settings(theta["settings"]), **self.sizes(theta)}
        )
