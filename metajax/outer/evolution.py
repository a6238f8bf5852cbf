"""Evolution strategies: theta improves by comparing members of a population."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from metajax.core import metrics
from metajax.core.algorithm import Outer, check_trainable
from metajax.core.family import Key, Tree
from metajax.core.layout import Layout
from metajax.core.options import OptionError
from metajax.core.problem import Problem

FITNESS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "area": lambda returns: jnp.mean(returns[1:] if len(returns) > 1 else returns),
    "last": lambda returns: returns[-1],
}
"""What a trial is worth, from ``Trial.returns``: the area under its learning curve (a mean
over all points but the first, before any adaptation, unless it is the only one), or where the
curve ends."""


class Search(NamedTuple):
    """A search distribution over theta; maximises.

    Attributes:
      init: ``(key, theta) -> state``, around theta.
      ask: ``(key, theta, state) -> (population, state)``, leaves ``[P, ...]``.
      tell: ``(key, theta, state, population, fitness [P]) -> (theta, state)``: the new mean.
      population_size: P.
    """

    init: Callable[[Key, Tree], Tree]
    ask: Callable[[Key, Tree, Tree], tuple[Tree, Tree]]
    tell: Callable[[Key, Tree, Tree, Tree, jax.Array], tuple[Tree, Tree]]
    population_size: int


def evosax_search(
    name: str,
    population_size: int,
    *,
    std: float = 0.1,
    learning_rate: float | None = None,
    optimizer: optax.GradientTransformation | None = None,
) -> Search:
    """A distribution-based strategy of evosax.

    Args:
      name: "open-es" (Salimans et al. 2017, antithetic, ranks, Adam), "pgpe" (Sehnke et al.
        2010, the same with standard deviations that are learned), "snes" (Wierstra et al.
        2014) or "cma-es" (Hansen 2016).
      population_size: P; even for the first two.
      std: Initial standard deviation of every coordinate.
      learning_rate: Learning rate of the mean. Default: 0.05. The last two strategies have step
        sizes of their own, and take none.
      optimizer: Optimiser of the mean, for the first two strategies. Default: Adam with
        ``learning_rate``.

    Raises:
      OptionError: where evosax is not installed, or options do not fit the strategy.
    """
    try:
        from evosax import algorithms
    except ImportError as error:
        raise OptionError(
            "strategy",
            f'"{name}" needs the package evosax, which is not installed; '
            "make install EXTRAS=evosax",
        ) from error
    follows_gradient = name in ("open-es", "pgpe")
    if follows_gradient and population_size % 2:
        raise OptionError(
            "population_size",
            f"{population_size} is not possible; allowed: an even number, as {name} samples pairs",
        )
    if learning_rate is not None and not follows_gradient:
        raise OptionError(
            "learning_rate",
            f'{learning_rate} is not possible; allowed: "none", as {name} sets its step sizes '
            "by itself",
        )
    if optimizer is None:
        optimizer = optax.adam(0.05 if learning_rate is None else learning_rate)

    def strategy(theta):
        """The strategy and its parameters; of theta only the structure matters."""
        if name == "open-es":
            schedule = optax.constant_schedule(std)
            chosen = algorithms.Open_ES(
                population_size, theta, optimizer=optimizer, std_schedule=schedule
            )
            return chosen, chosen.default_params
        if name == "pgpe":
            chosen = algorithms.PGPE(population_size, theta, optimizer=optimizer)
        else:
            makers = {"snes": algorithms.SNES, "cma-es": algorithms.CMA_ES}
            chosen = makers[name](population_size, theta)
        return chosen, chosen.default_params.replace(std_init=jnp.asarray(std, jnp.float32))

    def init(key, theta):
        chosen, params = strategy(theta)
        return _strong(chosen.init(key, theta, params))

    def ask(key, theta, state):
        chosen, params = strategy(theta)
        return chosen.ask(key, state, params)

    def tell(key, theta, state, population, fitness):
        chosen, params = strategy(theta)
        state, _ = chosen.tell(key, population, -fitness, state, params)  # evosax minimises
        return chosen.get_mean(state), _strong(state)

    return Search(init, ask, tell, population_size)


def _strong(state: Any) -> Any:
    """Without weak types, which a checkpoint would not bring back."""
    return jax.tree.map(lambda leaf: jax.lax.convert_element_type(leaf, leaf.dtype), state)


def evolution(
    problem: Problem,
    layout: Layout,
    search: Search,
    *,
    fitness: Callable[[jax.Array], jax.Array] = FITNESS["area"],
) -> Outer:
    """Moves theta, the mean of a search distribution, towards its fitter members.

    Each of P members runs a trial in each of N tasks. All members see the same tasks and
    the same randomness, so that their differences are their own. Nothing is differentiated.

    Args:
      problem: The trial.
      layout: Blocks and devices of the P * N trials: all tasks of a member, then of the next.
      search: The search distribution; its state is the carry.
      fitness: ``Trial.returns -> scalar`` of a trial; a member's is the mean over tasks.

    Returns:
      the ``Outer``. Its ``info`` has ``returns``, a mean over the *population* (less what
      diverges), not those of its mean, ``fitness_mean`` and ``fitness_best`` over members, and
      ``env_steps``.
    """
    size = search.population_size
    num_tasks, rest = divmod(layout.num_tasks, size)
    if rest:
        raise OptionError(
            "population_size",
            f"{size} is not possible; allowed: a divisor of the {layout.num_tasks} trials",
        )

    def of_row(population, row):
        member, key = row
        theta = jax.tree.map(lambda leaf: leaf[member], population)
        _, info = problem.run_sampled(key, theta)
        return {**info, "fitness": fitness(info["returns"])}

    def update(key, theta, carry):
        key_ask, key_tell, key_tasks = jax.random.split(key, 3)
        population, carry = search.ask(key_ask, theta, carry)
        keys = jax.random.split(key_tasks, num_tasks)
        of_task = jnp.tile(jnp.arange(num_tasks), size)
        rows = jnp.repeat(jnp.arange(size), num_tasks), keys[of_task]
        ran = layout.collect(of_row, population, rows)
        worth = jnp.mean(ran.pop("fitness").reshape(size, num_tasks), axis=1)
        # A member that diverges in a task ranks with the least fit; if all do, theta shows it.
        worth = jnp.where(jnp.isnan(worth), jnp.nanmin(worth), worth)
        theta, carry = search.tell(key_tell, theta, carry, population, worth)
        info = {
            "returns": jnp.nanmean(ran["returns"], axis=0),
            "fitness_mean": jnp.mean(worth),
            "fitness_best": jnp.max(worth),
        }
        return theta, carry, {**metrics.over_rows(ran), **info}

    def init(key, theta):
        check_trainable(theta)
        return search.init(key, theta)

    return Outer(init, update)
