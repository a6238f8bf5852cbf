"""The learner that adapts in its memory: nothing but the memory changes inside a task.

With a recurrent memory it is the inner half of RL2, with causal attention that of
SNAIL and of a transformer.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from metajax import losses, networks
from metajax.core.family import Discrete, Key, Spec, Tree
from metajax.core.options import OptionError, check
from metajax.core.types import Actor, ActorInput, ActorOutput, Chunk, Learner, Outputs
from metajax.data.rollout import actor_inputs


class _Encoder(nn.Module):
    """One vector of everything a learner sees before a decision."""

    torso: nn.Module
    num_actions: int | None

    def __call__(self, seen: ActorInput) -> jax.Array:
        """Inputs with one leading axis B to ``[B, F]``."""
        action = seen.last_action
        if self.num_actions is not None:
            action = jax.nn.one_hot(action, self.num_actions)
        scalars = jnp.stack([seen.last_reward, seen.start.astype(jnp.float32)], axis=-1)
        return jnp.concatenate([self.torso(seen.observation), action, scalars], axis=-1)


def memory_learner(
    spec: Spec,
    memory: nn.Module,
    *,
    num_steps: int,
    network: nn.Module | None = None,
    head_scale: float = 0.1,
    initial_std: float = 1.0,
    min_std: float = 1e-6,
    discount: float | jax.Array = 0.99,
    gae_lambda: float | jax.Array = 0.95,
    advantages: str = "trial",
) -> Learner:
    """A learner whose memory reads the whole trial.

    The memory's input is the observation, the last action (one-hot; zeros at the start of a trial),
    its reward and whether an episode starts. It survives the ends of episodes. The policy is linear
    in the memory's features; the value is linear in the features, in their product with the time
    left, and in the worth of the time left at a reward of one a step, so that the memory need not
    count steps for the value's sake.

    Theta is a dict with "encoder", "memory", "heads" and "value"; further entries, such as
    the parameters of an auxiliary term, are left alone. ``predict`` takes a chunk that begins
    its trial, and gives the memory's features.

    Args:
      spec: Spec of the family.
      memory: A flax module with ``initial_memory``, ``step`` and ``__call__``, such
        as ``metajax.networks.GRU``.
      num_steps: T of the training trials.
      network: Torso from observations ``[B, O]`` to features ``[B, F]``, which the memory
        reads. Default: the observation as it is.
      head_scale: Scale of the policy's initial kernel, relative to Glorot's.
      initial_std, min_std: Standard deviation of continuous actions.
      discount: Discount per step.
      gae_lambda: Lambda of the advantage estimate.
      advantages: "trial" lets rewards of later episodes count for earlier actions,
        which rewards exploration; the trial's end is terminal. "episode"
        stops at the ends of episodes, with a bootstrap at time limits.

    Source: Duan et al. (2016), "RL2", section 2.2 and Wang et al. (2016), section 2.
    """
    conventions = "trial", "episode"
    check(advantages in conventions, "advantages", advantages, " or ".join(conventions))
    space = spec.action_space
    num_actions = space.num_actions if isinstance(space, Discrete) else None
    network = networks.MLP(()) if network is None else network
    networks.check_network(network, spec)
    _check_memory(memory)
    encoder = _Encoder(network, num_actions)
    x = jax.eval_shape(lambda key: _example(spec, encoder, memory, key)[1], jax.random.key(0))
    networks.check_variables("memory", memory, jax.ShapeDtypeStruct((1, 1, *x.shape), x.dtype))
    size = _check_shapes(memory, x, num_steps)
    heads = networks.policy(
        dataclasses.replace(spec, observation_shape=(size,)),
        networks.MLP(()),
        head_scale=head_scale,
        initial_std=initial_std,
        min_std=min_std,
    )
    policy = MemoryPolicy(spec, encoder, memory, heads, size, num_steps, discount)

    def annotate(theta, phi, chunk):
        del theta, phi
        advantage = _advantages(chunk, advantages, discount, gae_lambda)
        target = jnp.where(chunk.mask, advantage + chunk.value, 0)
        return chunk._replace(advantage=advantage, target=target, scale=jnp.ones_like(chunk.reward))

    actor = Actor(
        memory=lambda theta: (memory.initial_memory(), jnp.zeros((), jnp.int32)),
        act=policy.act,
        divergence=heads.distribution.divergence,
        noise=heads.distribution.noise,
        annotate=annotate,
        records=("final_value",) if advantages == "episode" else (),
    )
    return Learner(
        init=policy.init,
        begin=lambda key, theta: (),
        adapt=lambda noise, theta, phi, data: phi,
        predict=policy.predict,
        actor=actor,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class MemoryPolicy:
    """A policy and a value that read the features of a memory.

    Attributes:
      spec: Spec of the family.
      encoder: Module from inputs of decisions to inputs of the memory.
      memory: The memory.
      heads: Policy of the memory's features.
      size: Number of those features.
      num_steps: T of the training trials.
      discount: Discount per step.
    """

    spec: Spec
    encoder: nn.Module
    memory: Any
    heads: networks.Policy
    size: int
    num_steps: int
    discount: float | jax.Array

    @property
    def value_head(self) -> nn.Module:
        """The linear value."""
        return nn.Dense(1, kernel_init=nn.initializers.zeros)

    def init(self, key: Key) -> Tree:
        """Initial theta."""
        key_memory, key_heads = jax.random.split(key)
        value = self.value_head.init(key_heads, jnp.zeros((1, 2 * self.size + 1)))["params"]
        weights, _ = _example(self.spec, self.encoder, self.memory, key_memory)
        return {**weights, "heads": self.heads.init(key_heads), "value": value}

    def value(self, theta: Tree, features: jax.Array, time: jax.Array) -> jax.Array:
        """Values ``[B]`` of features ``[B, F]`` after ``time [B]`` steps of the trial."""
        left = _worth(self.num_steps - time, self.discount)[:, None]
        scaled = features * left / _worth(self.num_steps, self.discount)
        inputs = jnp.concatenate([features, scaled, left], axis=-1)
        return _apply(self.value_head, theta["value"], inputs)[:, 0]

    def act(
        self, noise: Tree, theta: Tree, phi: Tree, memory: Tree, seen: ActorInput
    ) -> tuple[ActorOutput, Tree]:
        """One decision of one stream."""
        del phi
        carry, time = memory
        distribution = self.heads.distribution
        seen = jax.tree.map(lambda leaf: leaf[None], seen)
        x = _apply(self.encoder, theta["encoder"], seen)[0]
        features, carry = _apply(self.memory, theta["memory"], carry, x, method="step")
        parameters = self.heads.apply(theta["heads"], features[None])
        action = distribution.sample(noise, parameters)
        output = ActorOutput(
            action=action[0],
            mode=distribution.mode(parameters)[0],
            log_prob=distribution.log_prob(parameters, action)[0],
            value=self.value(theta, features[None], time[None])[0],
        )
        return output, (carry, time + 1)

    def predict(self, theta: Tree, phi: Tree, chunk: Chunk) -> Outputs:
        """Outputs for whole trials, as blocks of all their steps."""
        del phi
        distribution = self.heads.distribution

        def encoded(seen):
            return _apply(self.encoder, theta["encoder"], seen)

        def of_rows(features, action, time):
            parameters = self.heads.apply(theta["heads"], features)
            return Outputs(
                distribution=parameters,
                log_prob=distribution.log_prob(parameters, action),
                entropy=distribution.entropy(parameters),
                value=self.value(theta, features, time),
            )

        xs = networks.over_steps(encoded, actor_inputs(self.spec, chunk))
        features = _apply(self.memory, theta["memory"], xs)
        num_steps, num_streams = chunk.mask.shape
        time = jnp.repeat(jnp.arange(num_steps)[:, None], num_streams, axis=1)
        outputs = networks.over_steps(of_rows, features, chunk.action, time)
        return outputs._replace(features=features)


def _example(spec: Spec, encoder: Any, memory: Any, key: Key) -> tuple[dict[str, Any], jax.Array]:
    """Weights of encoder and memory, and an input of the memory, ``[F]``."""
    key_encoder, key_memory = jax.random.split(key)
    seen = jax.tree.map(lambda leaf: leaf[None], _example_input(spec))
    encoder_weights = encoder.init(key_encoder, seen).get("params", {})
    x = _apply(encoder, encoder_weights, seen)
    weights = memory.init(key_memory, x[None]).get("params", {})
    return {"encoder": encoder_weights, "memory": weights}, x[0]


def _check_memory(memory: Any) -> None:
    missing = [one for one in ("initial_memory", "step") if not hasattr(memory, one)]
    if not isinstance(memory, nn.Module) or missing:
        problem = f"has no {' and no '.join(missing)}" if missing else "is no module"
        name = getattr(memory, "__name__", type(memory).__name__)
        meant = f"did you mean {name}(...)? " if isinstance(memory, type) else ""
        raise OptionError(
            "memory",
            f"{name} {problem}; {meant}allowed: a flax.linen.Module with initial_memory(), "
            "step(memory, x) and __call__(xs), such as metajax.networks.GRU(128)",
        )


def _check_shapes(memory: Any, x: Any, num_steps: int) -> int:
    """Traces a memory of inputs ``x [F]``; the number of the features that it gives out."""

    def outputs(x):
        xs = jnp.broadcast_to(x, (*whole, *x.shape))
        features, weights = memory.init_with_output(jax.random.key(0), xs)
        start = memory.initial_memory()
        return features, start, memory.apply(weights, start, x, method="step")

    def shapes(tree):
        return jax.tree.map(lambda leaf: leaf.shape, tree)

    def same(one, other):
        sizes, others = ([leaf.shape for leaf in jax.tree.leaves(tree)] for tree in (one, other))
        return sizes == others and jax.tree.structure(one) == jax.tree.structure(other)

    name, whole = type(memory).__name__, (min(num_steps, 2), 3)
    features, start, stepped = jax.eval_shape(outputs, x)
    given = getattr(features, "shape", ())
    if len(given) != 3 or given[:2] != whole:
        raise OptionError(
            "memory",
            f"__call__ of {name} gives {shapes(features)} for inputs {(*whole, *x.shape)}; "
            "allowed: [T, B, D], the features of B trials of T steps",
        )
    size = given[2]
    if not same(stepped, (jax.ShapeDtypeStruct((size,), features.dtype), start)):
        raise OptionError(
            "memory",
            f"step of {name} gives {shapes(stepped)}; allowed: features [{size}], as many as "
            f"__call__ gives, and the next memory, like initial_memory(): {shapes(start)}",
        )
    return size


def _apply(module: nn.Module, weights: Any, *inputs: Any, method: str | None = None) -> Any:
    return module.apply({"params": weights}, *inputs, method=method)


def _advantages(chunk: Chunk, convention: str, discount: Any, gae_lambda: Any) -> jax.Array:
    if convention == "trial":
        end = jnp.zeros_like(chunk.reward[0])
        return losses.generalized_advantages(
            chunk.reward, chunk.value, end, chunk.mask, discount, gae_lambda
        )
    values, ends = (chunk.value, chunk.final_value), (chunk.terminated, chunk.truncated)
    return losses.episodic_advantages(
        chunk.reward, *values, *ends, chunk.mask, discount, gae_lambda
    )


def _worth(num_steps: Any, discount: Any) -> jax.Array:
    """Discounted sum of a reward of one at each of so many steps."""
    interest = jnp.clip(1 - discount, 1e-6, 1 - 1e-6)
    return -jnp.expm1(jnp.maximum(num_steps, 0) * jnp.log1p(-interest)) / interest


def _example_input(spec: Spec) -> ActorInput:
    space = spec.action_space
    discrete = isinstance(space, Discrete)
    action = jnp.zeros((), jnp.int32) if discrete else jnp.zeros(space.size)
    return ActorInput(jnp.zeros(spec.observation_shape), action, jnp.zeros(()), jnp.zeros((), bool))
