"""Adaptation by policy-gradient steps on fresh episodes: the inner half of MAML and Reptile.

By itself the learner is plain REINFORCE fine-tuning of any trained weights.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from metajax import losses
from metajax.core.family import Key, Tree
from metajax.core.options import OptionError
from metajax.core.types import Chunk, Learner, Loss, bootstrap_observation
from metajax.inner.descent import Rule, as_rule, descent
from metajax.inner.partition import EVERYTHING, Partition
from metajax.inner.policy import last_reached, policy_actor, policy_outputs
from metajax.networks import Policy

SURROGATES: dict[str, Loss] = {
    "score": losses.score_loss,
    "dice": losses.dice_loss,
    "lvc": losses.ratio_loss,
    "emaml": losses.score_loss,
}
"""Inner losses by the name of the surrogate. ``emaml`` differs on the outer side."""


def reinforce(
    policy: Policy,
    inner: optax.GradientTransformation | Rule,
    *,
    init: Callable[[Key], Tree] | None = None,
    partition: Partition = EVERYTHING,
    start: Callable[[Key, Tree], Tree] | None = None,
    surrogate: str = "score",
    updates: int = 1,
    baseline: str = "linear",
    discount: float | jax.Array = 0.99,
    gae_lambda: float | jax.Array = 1.0,
    normalize_advantages: bool = True,
    value_coefficient: float | jax.Array = 1.0,
) -> Learner:
    """A learner that descends a policy-gradient surrogate.

    Args:
      policy: The policy; with a value function if ``baseline`` is "value".
      inner: An optax transformation, or a function of theta that gives one.
      init: ``(key) -> theta``. Default: the policy's initial weights.
      partition: The part of theta that adapts. Default: all of it.
      start: ``(key, theta) -> fast`` at the start of a trial. Default: ``partition.split``.
      surrogate: One of ``SURROGATES``, the loss to descend.
      updates: Gradient steps on each chunk.
      baseline: "linear" (fitted to each chunk when it is collected), "value" (the
        policy's value function, adapted with the policy) or "none".
      discount: Discount per step of the returns that advantages are made of.
      gae_lambda: Lambda of the advantage estimate; 1 is Monte-Carlo.
      normalize_advantages: Normalise to mean 0 and deviation 1 within each task.
      value_coefficient: Weight of half the squared value error in the inner loss.

    Time limits: "value" bootstraps from the last observation of a truncated
    episode. "linear" and "none" measure the return up to the time limit, which is
    the objective of Finn et al. (2017): their horizon is part of the task.

    Raises:
      OptionError: for a baseline that the policy lacks, or an ``inner`` of neither kind.
    """
    if baseline == "value" and policy.value is None:
        raise OptionError("baseline", '"value" needs a policy with a value network')
    loss = SURROGATES[surrogate]
    if baseline == "value":
        loss = losses.total_of((1.0, loss), (value_coefficient, losses.value_error))

    def actor(weights_of):
        def annotate(theta, phi, chunk):
            returns = losses.returns_to_go(chunk.reward, chunk.mask, discount)
            values, bootstrap = baseline_values(
                baseline, policy, weights_of(theta, phi), chunk, returns
            )
            raw = losses.generalized_advantages(
                chunk.reward, values, bootstrap, chunk.mask, discount, gae_lambda
            )
            advantage, scale = raw, jnp.ones_like(raw[0, 0])
            if normalize_advantages:
                advantage, scale = losses.normalize(raw, chunk.mask, returns)
            scale = jnp.broadcast_to(scale, raw.shape)
            return chunk._replace(advantage=advantage, target=raw + values, scale=scale)

        records = ("next_observation",) if baseline == "value" else ()
        return policy_actor(policy, weights_of, annotate, records)

    return descent(
        policy.init if init is None else init,
        policy_outputs(policy),
        losses.term(loss),
        as_rule(inner),
        partition=partition,
        start=start,
        updates=updates,
        actor=actor,
    )


def baseline_values(
    baseline: str, policy: Policy, weights: Tree, chunk: Chunk, returns: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Values of a chunk's observations, ``[T, E]``, and of where its streams stopped, ``[E]``."""
    nothing = jnp.zeros_like(chunk.reward[0])
    if baseline == "value":
        assert policy.value is not None
        values = policy_outputs(policy)(weights, chunk).value
        ended = jnp.any(chunk.terminated & chunk.mask, axis=0)
        reached = last_reached(chunk._replace(next_observation=bootstrap_observation(chunk)))
        return values, jnp.where(ended, 0, policy.value(weights, reached))
    if baseline == "linear":
        return losses.linear_feature_values(chunk.observation, returns, chunk.mask), nothing
    return jnp.zeros_like(returns), nothing
