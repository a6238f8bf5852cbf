"""The learner of classical methods: score all actions and take the best.

Nothing is trained. The memory holds the statistics of the trial.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from metajax.core.family import Discrete, Key, Spec, Tree
from metajax.core.options import check
from metajax.core.types import Actor, ActorInput, ActorOutput, Learner, Outputs
from metajax.data.rollout import actor_inputs
from metajax.networks.distributions import categorical, exploring


class Rule(NamedTuple):
    """A scoring rule for actions.

    Attributes:
      memory: ``() -> memory``, the statistics at the start of a trial.
      score: ``(noise, memory, seen) -> (scores [A], memory)``: update the statistics with
        the outcome of the last decision, then score the actions for the next one.
      noise: ``(key) -> noise``, the randomness of one call of ``score``; None for a
        deterministic rule.
    """

    memory: Callable[[], Tree]
    score: Callable[[Tree, Tree, ActorInput], tuple[jax.Array, Tree]]
    noise: Callable[[Key], Tree] | None = None


def scoring_learner(
    spec: Spec, rule: Rule, *, exploration: float | jax.Array = 0.0, ties: str = "first"
) -> Learner:
    """A learner that takes the action with the highest score, or explores.

    ``theta`` and ``phi`` are ``()``, and nothing is differentiable. The action distribution
    is categorical with logits ``[A]``. With random scores (posterior samples) the probability
    of an action is its posterior probability of being the best, which has no closed form:
    log-probabilities, entropies and the logits of ``predict`` are then NaN.

    Args:
      spec: Spec of a family with ``Discrete`` actions.
      rule: Scoring rule.
      exploration: Probability of a uniformly random action.
      ties: Choice among equal scores: ``"first"`` for the lowest action, ``"random"`` for a
        uniform choice.

    Raises:
      OptionError: For another value of ``ties``.
    """
    check(ties in ("first", "random"), "ties", ties, "first or random")
    assert isinstance(spec.action_space, Discrete)
    num_actions = spec.action_space.num_actions
    choice = categorical(num_actions)
    undefined = rule.noise is not None

    def logits(scores):
        return exploring(_greedy(scores, ties), exploration)

    def noise(key):
        key_score, key_action = jax.random.split(key)
        return () if rule.noise is None else rule.noise(key_score), choice.noise(key_action)

    def act(noise, theta, phi, memory, seen):
        del theta, phi
        scores, memory = rule.score(noise[0], memory, seen)
        parameters = logits(scores)
        action = choice.sample(noise[1], parameters)
        log_prob = choice.log_prob(parameters, action)
        if undefined:
            log_prob = jnp.full_like(log_prob, jnp.nan)
        return ActorOutput(action, choice.mode(parameters), log_prob), memory

    def predict(theta, phi, chunk):
        del theta, phi
        if undefined:
            nothing = jnp.full(chunk.reward.shape, jnp.nan)
            every = jnp.full((*chunk.reward.shape, num_actions), jnp.nan)
            return Outputs(every, nothing, nothing)

        def stream(inputs):
            def step(memory, seen):
                scores, memory = rule.score((), memory, seen)
                return memory, logits(scores)

            return jax.lax.scan(step, rule.memory(), inputs)[1]

        parameters = jax.vmap(stream, 1, 1)(actor_inputs(spec, chunk))
        return Outputs(
            parameters, choice.log_prob(parameters, chunk.action), choice.entropy(parameters)
        )

    actor = Actor(
        memory=lambda theta: rule.memory(), act=act, divergence=choice.divergence, noise=noise
    )
    return Learner(
        init=lambda key: (),
        begin=lambda key, theta: (),
        adapt=lambda noise, theta, phi, data: phi,
        predict=predict,
        actor=actor,
    )


def _greedy(scores: jax.Array, ties: str) -> jax.Array:
    """Probabilities of the best actions, ``[A]``."""
    best = scores == jnp.max(scores)
    if ties == "first":
        best = jnp.arange(len(scores)) == jnp.argmax(scores)
    return best / jnp.sum(best)
