"""Trust-region policy optimisation of a meta-objective."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from metajax.core.algorithm import Objective, Outer, check_trainable
from metajax.core.family import Tree
from metajax.core.layout import Layout, total_of
from metajax.core.linear_solve import conjugate_gradients
from metajax.core.options import OptionError
from metajax.outer.epochs import collect_trials


def trust_region(
    objective: Objective,
    layout: Layout,
    *,
    max_divergence: float = 0.01,
    cg_iterations: int = 10,
    damping: float = 1e-5,
    backtracks: int = 15,
    backtrack_ratio: float = 0.8,
    fisher_tasks: int | None = None,
) -> Outer:
    """One natural-gradient step within a KL ball, with a line search.

    Solves ``max -gradient . d`` subject to ``d . F d / 2 <= max_divergence`` by conjugate
    gradients, then shortens the step until the loss falls and the mean KL between the adapted
    policies stays inside. F is the Gauss-Newton matrix of that KL, ``J' H J`` with J the Jacobian
    of the *adapted* policy's outputs in theta: products with it need one forward and one backward
    pass through the adaptation, but no third derivative.

    Args:
      objective: The objective, whose ``predict`` and ``divergence`` define the ball around
        its items' ``prediction``.
      layout: Blocks and devices of the tasks.
      max_divergence: Radius of the ball, nats.
      cg_iterations: Products with F for each step.
      damping: Multiple of the identity added to F.
      backtracks: Step lengths to try before theta stays as it is.
      backtrack_ratio: Ratio of two successive lengths.
      fisher_tasks: Number of tasks to estimate F on; fewer are faster. Default: all.

    Source: Schulman et al. (2015), appendix C; as outer step, Finn et al. (2017),
    section 5.3. All trials are kept during the update: memory grows with N.

    Raises:
      OptionError: for an objective without ``predict``, or so many Fisher tasks.
    """
    count = layout.num_tasks if fisher_tasks is None else fisher_tasks
    if not 1 <= count <= layout.num_tasks:
        raise OptionError(
            "fisher_tasks",
            f"{fisher_tasks} is not possible; allowed: 1 to num_tasks ({layout.num_tasks})",
        )
    predict, divergence = objective.predict, objective.divergence
    if predict is None or divergence is None:
        allowed = "one of adapted weights, such as metajax.outer.post_adaptation"
        raise OptionError("objective", f"predicts nothing to keep close to; allowed: {allowed}")
    fisher_map = layout.resized(count)

    def over_tasks(part, fn):
        def block_sum(shared, block):
            return total_of(lambda item: fn(shared, item), block, part.gradient_microbatch)

        return lambda shared, items: part.mean(block_sum, shared, items)

    def product_of_task(shared, item):
        theta, direction = shared
        prediction, forward = jax.linearize(lambda point: predict(point, item), theta)
        kl_gradient = jax.grad(lambda new: divergence(item, prediction, new))
        curved = jax.jvp(kl_gradient, (prediction,), (forward(direction),))[1]
        return jax.linear_transpose(forward, theta)(curved)[0]

    def judge_of_task(theta, item):
        loss, _ = objective.loss(theta, item)
        return loss, divergence(item, item.prediction, predict(theta, item))

    gradient = over_tasks(layout, jax.grad(objective.loss, has_aux=True))
    fisher_product = over_tasks(fisher_map, product_of_task)
    judge = over_tasks(layout, judge_of_task)
    limits = max_divergence, backtracks, backtrack_ratio

    def update(key, theta, carry):
        items, collected = collect_trials(objective, layout, key, theta)
        gradients, info = gradient(theta, items)
        fisher_items = jax.tree.map(lambda leaf: leaf[:count], items)

        def product(direction):
            curved = fisher_product((theta, direction), fisher_items)
            return jax.tree.map(lambda f, d: f + damping * d, curved, direction)

        direction = conjugate_gradients(product, gradients, cg_iterations)
        curvature = optax.tree.vdot(direction, product(direction))
        length = jnp.sqrt(2 * max_divergence / jnp.maximum(curvature, 1e-12))
        step = jax.tree.map(lambda leaf: -length * leaf, direction)
        # An all-zero gradient asks for no step; 0 / 0 in the solver must not say otherwise.
        usable = (optax.tree.norm(gradients) > 0) & jnp.isfinite(length)
        step = jax.tree.map(lambda leaf: jnp.where(usable, leaf, 0), step)
        search = _line_search(lambda at: judge(at, items), theta, step, info["loss"], *limits)
        info = {
            **collected,
            **info,
            "gradient_norm": optax.tree.norm(gradients),
            "divergence": search.divergence,
            "backtracks": search.trial,
        }
        return search.theta, carry, info

    def init(key, theta):
        check_trainable(theta)
        return ()

    return Outer(init, update)


class _Search(NamedTuple):
    theta: Tree
    trial: jax.Array
    accepted: jax.Array
    divergence: jax.Array


def _line_search(judge, theta, step, loss, max_divergence, backtracks, ratio) -> _Search:
    def shorter(search):
        fraction = ratio ** search.trial.astype(jnp.float32)
        point = jax.tree.map(lambda old, full: old + fraction * full, theta, step)
        new_loss, divergence = judge(point)
        accepted = (new_loss < loss) & (divergence <= max_divergence)
        point = jax.tree.map(lambda new, old: jnp.where(accepted, new, old), point, theta)
        divergence = jnp.where(accepted, divergence, 0)
        return _Search(point, search.trial + 1, accepted, divergence)

    start = _Search(theta, jnp.zeros((), jnp.int32), jnp.zeros((), bool), jnp.zeros_like(loss))
    return jax.lax.while_loop(
        lambda search: ~search.accepted & (search.trial < backtracks), shorter, start
    )
