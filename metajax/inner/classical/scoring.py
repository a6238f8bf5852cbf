"""The learner of classical methods: it rates the actions and takes the best.

Nothing is trained. What a method has learnt of its task are the statistics of the
trial, its memory.
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
    """How a method rates actions.

    Attributes:
      memory: ``() -> memory``, the statistics before anything is seen.
      score: ``(noise, memory, seen) -> (scores [A], memory)``: takes in what ``seen``
        tells of the decision before, then rates the actions for this one.
      noise: ``(key) ->`` the randomness of one rating; None for a method whose scores
        follow from the trial alone.
    """

    memory: Callable[[], Tree]
    score: Callable[[Tree, Tree, ActorInput], tuple[jax.Array, Tree]]
    noise: Callable[[Key], Tree] | None = None


def scoring_learner(
    spec: Spec, rule: Rule, *, exploration: float | jax.Array = 0.0, ties: str = "first"
) -> Learner:
    """Takes the action of the highest score, or now and then any.

    ``theta`` and ``phi`` are ``()``, and nothing can be differentiated. The action
    distribution is categorical, its parameters are logits ``[A]``. Where the scores are
    random (posterior samples), the probability of an action is that of being the best
    under the posterior, which has no closed form: log-probabilities, entropies and the
    logits of ``predict`` are then NaN.

    Args:
      spec: of a family with ``Discrete`` actions.
      rule: the method.
      exploration: probability of a uniformly random action.
      ties: among equal scores, the action of the lowest number ("first") or each as
        likely as the others ("random").
    """
    check(ties in ("first", "random"), "ties", ties, "first or random")
    assert isinstance(spec.action_space, Discrete)
    num_actions = spec.action_space.num_actions
    choice = categorical(num_actions)
    undefined = rule.noise is not None

    def logits(scores):
        best = scores == jnp.max(scores)
        if ties == "first":
            best = jnp.arange(num_actions) == jnp.argmax(scores)
        greedy = best / jnp.sum(best)
        return exploring(greedy, exploration)

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
        memory=lambda theta: rule.memory(),
        act=act,
        divergence=choice.divergence,
        noise=noise,
    )
    return Learner(
        init=lambda key: (),
        begin=lambda key, theta: (),
        adapt=lambda noise, theta, phi, data: phi,
        predict=predict,
        actor=actor,
    )
