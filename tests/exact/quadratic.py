"""A learner whose meta-gradients are known in closed form.

A task is a point c, the only observation of its only episode; theta is a point w,
the loss of both loops is ``|w - c|^2 / 2``, and nothing is random but c.
"""

import jax
import jax.numpy as jnp
import optax

from metajax.core.family import Box, Spec, TaskFamily, TimeStep
from metajax.core.types import ActorOutput, Chunk, Learner, Outputs
from metajax.inner import GradientState, step_sizes

SIZE = 3


def family() -> TaskFamily:
    """Tasks are normal points ``[D]``; an episode is one step."""
    spec = Spec("points", (SIZE,), Box((-1.0,), (1.0,)), episode_length=1)
    no = jnp.zeros((), bool)

    def reset(key, task):
        del key
        return (), TimeStep(task, jnp.zeros(()), no, no, task)

    def advance(key, task, state, action):
        del key, action
        return state, TimeStep(task, jnp.zeros(()), no, ~no, task)

    return TaskFamily(spec, lambda key: jax.random.normal(key, (SIZE,)), reset, advance, advance)


def learner(rates) -> Learner:
    """Gradient descent on the loss; the unrolled value is w, ``[T, E, D]``."""
    optimizer = optax.sgd(step_sizes(rates))

    def adapt(key, theta, phi, chunk):
        del key, theta
        gradient = jax.grad(lambda w: 0.5 * jnp.sum((w - chunk.observation[0, 0]) ** 2))
        update, state = optimizer.update(gradient(phi.weights), phi.optimizer_state)
        return GradientState(optax.apply_updates(phi.weights, update), state)

    def act(noise, theta, phi, memory, seen):
        del noise, theta, phi, seen
        return ActorOutput(jnp.zeros(1), jnp.zeros(1), jnp.zeros(())), memory

    def unroll(theta, phi, memory, chunk):
        del theta, memory
        zeros = jnp.zeros(chunk.mask.shape)
        return Outputs((), zeros, zeros, jnp.broadcast_to(phi.weights, chunk.observation.shape))

    return Learner(
        init=lambda key: jnp.arange(1.0, 1 + SIZE),
        begin=lambda key, theta: GradientState(theta, optimizer.init(theta)),
        memory=lambda theta: (),
        act=act,
        unroll=unroll,
        annotate=lambda theta, phi, chunk: chunk,
        adapt=adapt,
        weights=lambda phi: phi.weights,
        divergence=lambda old, new: jnp.zeros(()),
    )


def loss(outputs: Outputs, chunk: Chunk) -> jax.Array:
    """``|w - c|^2 / 2``, mean over the chunk."""
    squared = jnp.sum((outputs.value - chunk.observation) ** 2, axis=-1)
    return 0.5 * jnp.mean(squared)
