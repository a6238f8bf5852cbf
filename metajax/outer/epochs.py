"""Several passes over one batch of collected trials."""

import jax
import jax.numpy as jnp
import optax

from metajax.core import metrics
from metajax.core.algorithm import Objective, Outer, check_trainable
from metajax.core.layout import Layout, check_minibatches, total_of
from metajax.core.options import OptionError


def collect_trials(objective: Objective, layout: Layout, key, theta):
    """Collects N trials and prepares them; ``(items [N, ...], info)``."""
    keys = jax.random.split(key, layout.num_tasks)
    items, info = layout.collect(lambda theta, key: objective.collect(key, theta), theta, keys)
    return objective.prepare(items), metrics.over_rows(info)


def epochs(
    objective: Objective,
    optimizer: optax.GradientTransformation,
    layout: Layout,
    *,
    num_epochs: int = 4,
    num_minibatches: int = 1,
) -> Outer:
    """Collects N trials, then takes ``num_epochs`` passes of minibatches of tasks.

    All N trials are kept until the update ends: memory grows with N, by about 160
    KB a task for 20 episodes of 100 steps in the plane. Several devices do not change that:
    an epoch shuffles all trials, and each device then has them all.

    Args:
      objective: The objective. Its loss should bound how far several steps may go, as
        ``losses.clipped_loss`` does.
      optimizer: Any optax transformation.
      layout: Blocks and devices of the tasks, built for so many minibatches.
      num_epochs: Passes over the trials.
      num_minibatches: Updates of each pass; divides the number of tasks.

    Source: Schulman et al. (2017); over meta-batches, Rothfuss et al. (2019), "ProMP", algorithm 1.
    """
    check_minibatches(layout.num_tasks, num_minibatches)
    size = layout.num_tasks // num_minibatches
    if size % layout.num_devices:
        raise OptionError(
            "layout",
            f"the {size} tasks of a minibatch cannot be shared by {layout.num_devices} devices; "
            "allowed: a layout of Layout.build(..., num_minibatches=...)",
        )
    minibatch = layout.resized(size)
    gradient = jax.grad(objective.loss, has_aux=True)

    def minibatch_step(carry, items):
        theta, state = carry

        def block_sum(theta, block):
            if objective.total is not None:
                return jax.grad(objective.total, has_aux=True)(theta, block)
            return total_of(
                lambda item: gradient(theta, item), block, minibatch.gradient_microbatch
            )

        gradients, info = minibatch.mean(block_sum, theta, items)
        updates, state = optimizer.update(gradients, state, theta)
        info["gradient_norm"] = optax.tree.norm(gradients)
        return (optax.apply_updates(theta, updates), state), info

    def update(key, theta, state):
        key_collect, key_order = jax.random.split(key)
        items, collected = collect_trials(objective, layout, key_collect, theta)

        def epoch(carry, key):
            order = jax.random.permutation(key, layout.num_tasks).reshape(num_minibatches, size)
            # All at once: between devices each gather is a message.
            shuffled = jax.tree.map(lambda leaf: leaf[order], items)
            return jax.lax.scan(minibatch_step, carry, shuffled)

        keys = jax.random.split(key_order, num_epochs)
        (theta, state), info = jax.lax.scan(epoch, (theta, state), keys)
        return theta, state, {**collected, **jax.tree.map(jnp.mean, info)}

    def init(key, theta):
        check_trainable(theta)
        return optimizer.init(theta)

    return Outer(init, update)
