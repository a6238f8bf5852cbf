"""The learner that adapts its weights by policy-gradient steps.

It is the inner half of MAML, FOMAML and Reptile, and by itself plain REINFORCE
fine-tuning of any trained weights.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.core import Tracer

from metajax import losses
from metajax.core.options import OptionError
from metajax.core.types import ActorOutput, Chunk, Key, Learner, Outputs, Tree
from metajax.networks import Policy, over_steps


class GradientState(NamedTuple):
    """The fast state phi of one task.

    Attributes:
      weights: of the policy, starting at theta.
      optimizer_state: of the inner optax transformation.
    """

    weights: Tree
    optimizer_state: Tree


def _score(outputs: Outputs, chunk: Chunk) -> jax.Array:
    return losses.score_surrogate(outputs.log_prob, chunk.advantage, chunk.mask)


def _dice(outputs: Outputs, chunk: Chunk) -> jax.Array:
    return losses.dice_surrogate(outputs.log_prob, chunk.advantage, chunk.mask)


def _lvc(outputs: Outputs, chunk: Chunk) -> jax.Array:
    return losses.likelihood_ratio_surrogate(
        outputs.log_prob, chunk.log_prob, chunk.advantage, chunk.mask
    )


SURROGATES: dict[str, Callable[[Outputs, Chunk], jax.Array]] = {
    "score": _score,
    "dice": _dice,
    "lvc": _lvc,
    "emaml": _score,
}
"""Inner losses by the name of the surrogate. ``emaml`` differs on the outer side."""


def step_sizes(rates: float | jax.Array | Sequence[float]) -> optax.Schedule:
    """A rate for each gradient step; the last one holds from then on.

    ``(0.1, 0.05)`` takes a first step of 0.1 and halves it afterwards, as Finn et
    al. (2017) do when they adapt for more steps than they trained with.
    """
    values = jnp.atleast_1d(jnp.asarray(rates))
    return lambda count: values[jnp.minimum(count, len(values) - 1)]


def gradient_learner(
    policy: Policy,
    *,
    inner: optax.GradientTransformation | Callable[[Key, Tree, Any, Chunk], Any],
    surrogate: str = "score",
    updates: int = 1,
    baseline: str = "linear",
    discount: float | jax.Array = 0.99,
    gae_lambda: float | jax.Array = 1.0,
    normalize_advantages: bool = True,
    value_coefficient: float | jax.Array = 0.5,
) -> Learner:
    """A learner whose theta is the initial weights of a policy.

    Args:
      policy: the policy; with a value function if ``baseline`` is "value".
      inner: an optax transformation, or a whole rule
        ``(key, theta, phi, chunk) -> phi`` with phi a ``GradientState``.
      surrogate: one of ``SURROGATES``, the loss that an optax rule descends.
      updates: steps of the rule on each chunk.
      baseline: "linear" (fitted to each chunk when it is collected), "value" (the
        policy's value function, adapted with the policy) or "none".
      discount: per step, of the returns that advantages are made of.
      gae_lambda: of the advantage estimate; 1 is Monte-Carlo.
      normalize_advantages: to mean 0 and deviation 1 within each task.
      value_coefficient: weight of the squared value error in the inner loss.

    Time limits: "value" bootstraps from the last observation of a truncated
    episode. "linear" and "none" measure the return up to the time limit, which is
    the objective of Finn et al. (2017): their horizon is part of the task.

    Raises:
      OptionError: for a baseline that the policy lacks, an ``inner`` of neither kind, or a
        surrogate beside a rule of one's own, which would not see it.
    """
    value_of = policy.value
    if baseline == "value" and value_of is None:
        raise OptionError("baseline", '"value" needs a policy with a value network')
    from_optax = getattr(inner, "__module__", "").startswith("optax.")
    if not isinstance(inner, optax.GradientTransformation) and (not callable(inner) or from_optax):
        raise OptionError(
            "inner",
            f"{getattr(inner, '__name__', inner)} does not fit; allowed: an optax transformation "
            "such as optax.sgd(0.1), or a function (key, theta, phi, chunk) -> phi",
        )
    surrogate_loss = SURROGATES[surrogate]
    if not isinstance(inner, optax.GradientTransformation) and surrogate_loss is not _score:
        raise OptionError(
            "surrogate",
            f'"{surrogate}" is not possible with a rule of your own, which has its own loss; '
            'allowed: "score", "emaml", or an optax transformation',
        )
    distribution = policy.distribution

    def begin(key, theta):
        del key
        state = inner.init(theta) if isinstance(inner, optax.GradientTransformation) else ()
        return GradientState(theta, state)

    def act(noise, theta, phi, memory, seen):
        del theta
        parameters = policy.apply(phi.weights, seen.observation[None])
        action = distribution.sample(noise, parameters)
        log_prob = distribution.log_prob(parameters, action)
        output = ActorOutput(action[0], distribution.mode(parameters)[0], log_prob[0])
        return output, memory

    def unroll(theta, phi, memory, chunk):
        del theta, memory

        def of_rows(observation, action):
            parameters = policy.apply(phi.weights, observation)
            return Outputs(
                distribution=parameters,
                log_prob=distribution.log_prob(parameters, action),
                entropy=distribution.entropy(parameters),
                value=() if value_of is None else value_of(phi.weights, observation),
            )

        return over_steps(of_rows, chunk.observation, chunk.action)

    def annotate(theta, phi, chunk):
        returns = losses.returns_to_go(chunk.reward, chunk.mask, discount)
        bootstrap = jnp.zeros_like(chunk.reward[0])
        if baseline == "value":
            assert value_of is not None
            values = unroll(theta, phi, (), chunk).value
            ended = jnp.any(chunk.terminated & chunk.mask, axis=0)
            bootstrap = jnp.where(ended, 0, value_of(phi.weights, chunk.last_observation))
        elif baseline == "linear":
            values = losses.linear_feature_values(chunk.observation, returns, chunk.mask)
        else:
            values = jnp.zeros_like(returns)
        raw = losses.generalized_advantages(
            chunk.reward, values, bootstrap, chunk.mask, discount, gae_lambda
        )
        advantage, scale = raw, jnp.ones_like(raw[0, 0])
        if normalize_advantages:
            advantage, scale = losses.normalize(raw, chunk.mask, returns)
        return chunk._replace(advantage=advantage, target=raw + values, scale=scale)

    def loss(weights, theta, chunk):
        outputs = unroll(theta, GradientState(weights, ()), (), chunk)
        total = surrogate_loss(outputs, chunk)
        if baseline == "value":
            error = losses.masked_mean(jnp.square(outputs.value - chunk.target), chunk.mask)
            total = total + value_coefficient * error
        return total

    def descend(key, theta, phi, chunk):
        del key
        assert isinstance(inner, optax.GradientTransformation)
        gradients = jax.grad(loss)(phi.weights, theta, chunk)
        step, state = inner.update(gradients, phi.optimizer_state, phi.weights)
        return GradientState(optax.apply_updates(phi.weights, step), state)

    rule = descend if isinstance(inner, optax.GradientTransformation) else _checked(inner)

    return Learner(
        init=policy.init,
        begin=begin,
        memory=lambda theta: (),
        act=act,
        unroll=unroll,
        annotate=annotate,
        adapt=_repeated(rule, updates),
        weights=lambda phi: phi.weights,
        divergence=distribution.divergence,
        noise=distribution.noise,
    )


def check_differentiable(rule: optax.GradientTransformation, theta: Tree) -> None:
    """Refuses an optax rule whose update has no derivative where gradients are zero.

    A meta-gradient through it is NaN as soon as one of them is, as that of a rectifier that
    is off.

    Args:
      rule: to be differentiated.
      theta: weights of the shapes that it gets; arrays or their ``jax.eval_shape``.

    Raises:
      OptionError: where it has none. Rates that are traced pass unchecked.
    """
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), theta)

    def moved(gradients):
        steps, _ = rule.update(gradients, rule.init(zeros), zeros)
        return sum(jnp.sum(step) for step in jax.tree.leaves(steps))

    slopes = jax.tree.leaves(jax.jit(jax.grad(moved))(zeros))
    finite = jnp.array([jnp.isfinite(slope).all() for slope in slopes]).all()
    if not isinstance(finite, Tracer) and not finite:
        raise OptionError(
            "inner",
            "its update has no derivative where a gradient is zero, so that the meta-gradient "
            "would be NaN; allowed: a rule that has one, as optax.sgd(0.1), optax.adam(0.01, "
            "eps_root=1e-8) and metajax.inner.clip_by_global_norm have, or one that is not "
            'differentiated, under "fomaml" or "reptile"',
        )


def _repeated(rule: Callable[..., Any], updates: int) -> Callable[..., Any]:
    """A rule that is applied several times to each chunk."""
    if updates == 1:
        return rule

    def adapt(key, theta, phi, chunk):
        def update(phi, key):
            return rule(key, theta, phi, chunk), None

        return jax.lax.scan(update, phi, jax.random.split(key, updates))[0]

    return adapt


def _checked(rule: Callable[..., Any]) -> Callable[..., Any]:
    """A rule of the user's own that must return what it was given."""

    def adapt(key, theta, phi, chunk):
        after = rule(key, theta, phi, chunk)
        if jax.tree.structure(after) != jax.tree.structure(phi):
            raise OptionError(
                "inner",
                f"returns {jax.tree.structure(after)}; allowed: a GradientState like the phi "
                f"that it gets, {jax.tree.structure(phi)}",
            )
        return after

    return adapt
