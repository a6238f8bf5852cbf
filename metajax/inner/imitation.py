"""Policies conditioned on demonstrations, without gradient steps in a task."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from metajax.core.family import Discrete, Key, Spec, Tree
from metajax.core.types import Learner
from metajax.inner.policy import policy_actor, policy_outputs
from metajax.networks import Policy, Predictor


class Steps(NamedTuple):
    """Demonstrated steps, n of all demonstrations together.

    Attributes:
      seen: ``[n, O]``, or the embeddings of the observations, ``[n, F]``.
      action: ``[n, A]``, as ``encoded``; 0 where the mask is false.
      mask: ``[n]``, true for steps that happened.
    """

    seen: jax.Array
    action: jax.Array
    mask: jax.Array


def conditioned(
    spec: Spec,
    init: Callable[[Key], Tree],
    head: Policy,
    remember: Callable[[Tree, Steps], Tree],
    recall: Callable[[Tree, Tree, jax.Array], jax.Array],
    num_steps: int = 1,
) -> Learner:
    """A policy that is a function of the observation and of the demonstrations.

    The fast state is what ``remember`` makes of the demonstrated steps, and before adaptation
    of steps that never happened.

    Args:
      spec: Description of the family.
      init: ``(key) -> theta``, with the weights of ``head`` as ``theta["head"]``.
      head: Policy of the inputs that ``recall`` gives.
      remember: ``(theta, steps) -> phi``.
      recall: ``(theta, phi, observation [B, O]) -> [B, ...]``, the input of ``head``.
      num_steps: Number n of demonstrated steps, for a phi whose shape depends on it.
    """

    def apply(weights, observation):
        theta, phi = weights
        return head.apply(theta["head"], recall(theta, phi, observation))

    policy = head._replace(apply=apply, value=None)
    outputs = policy_outputs(policy)

    def begin(key, theta):
        del key
        observation = jnp.zeros((num_steps, *spec.observation_shape))
        nothing = jnp.zeros((num_steps, num_action_features(spec)))
        return remember(theta, Steps(observation, nothing, jnp.zeros(num_steps, bool)))

    def adapt(key, theta, phi, chunk):
        del key, phi
        parts = chunk.observation, chunk.action, chunk.mask
        observation, action, mask = jax.tree.map(_rows, parts)
        action = jnp.where(mask[:, None], encoded(spec, action), 0)
        return remember(theta, Steps(observation, action, mask))

    def predict(theta, phi, chunk):
        return outputs((theta, phi), chunk)

    actor = policy_actor(policy, lambda theta, phi: (theta, phi))
    return Learner(init, begin, adapt, predict, actor=actor, singly=False)


def matching_policy(spec: Spec, embedding: Predictor, head: Policy, num_steps: int) -> Learner:
    """A policy that reads what was demonstrated where the demonstrator saw what it sees.

    ``head([f(o), sum_i softmax_i(-|f(o) - f(o_i)|^2) [f(o_i), a_i]])``

    over the demonstrated steps i; before adaptation the sum is 0. Theta has the weights of both
    networks as "embedding" and "head".

    Args:
      spec: Description of the family.
      embedding: f, the network from observations ``[n, O]`` to ``[n, F]``.
      head: Policy of ``2 F + A`` numbers, A those of an ``encoded`` action.
      num_steps: Number of demonstrated steps, which the fast state holds.

    The attention is that of matching networks (Vinyals et al. 2016, equation 1) with actions in
    place of classes. Deviations: squared distances, as cosines in [-1, 1] cannot tell a single
    step from many others; beside the actions the observations are read, without which nobody
    knows how far the step was from the present one.
    """

    def init(key):
        key_embedding, key_head = jax.random.split(key)
        return {"embedding": embedding.init(key_embedding), "head": head.init(key_head)}

    def remember(theta, steps):
        seen = embedding.apply(theta["embedding"], steps.seen)
        return steps._replace(seen=jnp.where(steps.mask[:, None], seen, 0))

    def recall(theta, phi, observation):
        seen = embedding.apply(theta["embedding"], observation)
        values = jnp.concatenate([phi.seen, phi.action], axis=-1)
        return jnp.concatenate([seen, attended(seen, phi.seen, values, phi.mask)], axis=-1)

    return conditioned(spec, init, head, remember, recall, num_steps)


def pooled_policy(spec: Spec, embedding: Predictor, step: Predictor, head: Policy) -> Learner:
    """A policy of its observation and of the mean embedding of the demonstrated steps.

    ``head([f(o), mean_i g([f(o_i), a_i])])``

    over the demonstrated steps i; before adaptation the mean is 0. Theta has the weights of the
    networks as "embedding", "step" and "head".

    Args:
      spec: Description of the family.
      embedding: f, the network from observations ``[n, O]`` to ``[n, F]``.
      step: g, the network from ``[n, F + A]`` to ``[n, G]``, A the numbers of an ``encoded``
        action.
      head: Policy of ``F + G`` numbers.

    The mean is a prototype of the task, as that of a class in prototypical networks (Snell et
    al. 2017, equation 1), and a policy takes the place of the comparison.
    """

    def init(key):
        key_embedding, key_step, key_head = jax.random.split(key, 3)
        weights = {"embedding": embedding.init(key_embedding), "step": step.init(key_step)}
        return {**weights, "head": head.init(key_head)}

    def remember(theta, steps):
        seen = embedding.apply(theta["embedding"], steps.seen)
        rows = step.apply(theta["step"], jnp.concatenate([seen, steps.action], axis=-1))
        happened = steps.mask.astype(rows.dtype)
        return happened @ rows / jnp.maximum(jnp.sum(happened), 1)

    def recall(theta, phi, observation):
        seen = embedding.apply(theta["embedding"], observation)
        shared = jnp.broadcast_to(phi, (seen.shape[0], *phi.shape))
        return jnp.concatenate([seen, shared], axis=-1)

    return conditioned(spec, init, head, remember, recall)


def attended(query: jax.Array, keys: jax.Array, values: jax.Array, mask: jax.Array) -> jax.Array:
    """``sum_i softmax_i(-|query - keys_i|^2) values_i`` over the true entries of the mask.

    Args:
      query, keys, values: ``[q, F]``, ``[n, F]`` and ``[n, A]``; values are 0 where the mask is
        false.
      mask: ``[n]``.

    Returns:
      ``[q, A]``; 0 where nothing is true.
    """
    squares = jnp.sum(jnp.square(query[:, None] - keys), axis=-1)
    return jax.nn.softmax(jnp.where(mask, -squares, -1e9)) @ values


def num_action_features(spec: Spec) -> int:
    """Length A of an ``encoded`` action."""
    space = spec.action_space
    return space.num_actions if isinstance(space, Discrete) else space.size


def encoded(spec: Spec, action: jax.Array) -> jax.Array:
    """Actions ``[n, A]`` as networks read them: one-hot, or from -1 to 1 within their bounds."""
    space: Any = spec.action_space
    if isinstance(space, Discrete):
        return jax.nn.one_hot(action, space.num_actions)
    low, high = jnp.array(space.low), jnp.array(space.high)
    return 2 * (action - low) / (high - low) - 1


def _rows(leaf: jax.Array) -> jax.Array:
    """``[T, E, ...]`` as ``[T E, ...]``."""
    return leaf.reshape(-1, *leaf.shape[2:])
