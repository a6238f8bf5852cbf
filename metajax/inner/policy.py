"""The acting half of learners whose policy is a network of the observation."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from metajax.core.family import Tree
from metajax.core.types import ActFn, Actor, ActorOutput, AnnotateFn, Chunk, Outputs, unannotated
from metajax.networks import Distribution, Policy, over_steps


def policy_outputs(policy: Policy) -> Callable[[Tree, Chunk], Outputs]:
    """``(weights, chunk) -> Outputs`` of a policy, with its values if it has any."""
    distribution, value_of = policy.distribution, policy.value

    def outputs(weights, chunk):
        def rows(observation, action):
            parameters = policy.apply(weights, observation)
            return Outputs(
                distribution=parameters,
                log_prob=distribution.log_prob(parameters, action),
                entropy=distribution.entropy(parameters),
                value=None if value_of is None else value_of(weights, observation),
            )

        return over_steps(rows, chunk.observation, chunk.action)

    return outputs


def policy_actor(
    policy: Policy,
    weights_of: Callable[[Tree, Tree], Tree],
    annotate: AnnotateFn = unannotated,
    records: tuple[str, ...] = (),
) -> Actor:
    """An actor without memory that samples a policy's actions.

    Args:
      policy: The policy.
      weights_of: ``(theta, phi) -> weights`` of the policy.
      annotate, records: See ``metajax.Actor``.
    """
    distribution = policy.distribution

    def act(noise, theta, phi, memory, seen):
        parameters = policy.apply(weights_of(theta, phi), seen.observation[None])
        action = distribution.sample(noise, parameters)
        log_prob = distribution.log_prob(parameters, action)
        rows = action, distribution.mode(parameters), log_prob, None, parameters
        return ActorOutput(*jax.tree.map(lambda leaf: leaf[0], rows)), memory

    return memoryless(act, distribution, annotate, records)


def memoryless(
    act: ActFn,
    choice: Distribution,
    annotate: AnnotateFn = unannotated,
    records: tuple[str, ...] = (),
) -> Actor:
    """The actor of a decision that samples ``choice`` and has no memory."""
    return Actor(lambda theta: (), act, choice.divergence, choice.noise, annotate, records)


def last_reached(chunk: Chunk) -> jax.Array:
    """``[E, O]``, the observation after the last transition of each stream that happened."""
    last = jnp.maximum(jnp.sum(chunk.mask, axis=0) - 1, 0)
    rows = jnp.arange(chunk.mask.shape[1])
    return chunk.next_observation[last, rows]  # pyright: ignore[reportOptionalSubscript]
