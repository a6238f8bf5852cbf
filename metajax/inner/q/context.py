"""Windows: the last steps of a stream, which a context is computed from.

A window is an array ``[C, F]`` of the last C steps of a stream, the present one last. A step
is the input of a decision (``metajax.core.types.ActorInput``) in one vector: the
observation, the last action (one-hot; zeros at the start of a trial), its reward, whether an
episode starts, and a one that tells the step from a blank. Before a trial there are blanks,
zeros. So the context is a function of the last C steps and of nothing else: acting, replay and
fine-tuned weights agree about it, however long a trial is.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from metajax.core.family import Discrete, Spec
from metajax.core.options import OptionError
from metajax.core.types import ActorInput, Chunk, Learner
from metajax.data.acting import actor_of
from metajax.data.rollout import actor_inputs


class Windows(NamedTuple):
    """Shape and contents of the windows of a task family.

    Attributes:
      family: Spec of the family.
      length: C, steps of a window.
    """

    family: Spec
    length: int

    @classmethod
    def of(cls, spec: Spec, length: int) -> "Windows":
        """Windows of a checked family.

        Raises:
          OptionError: for a family with continuous actions.
        """
        if not isinstance(spec.action_space, Discrete):
            raise OptionError(
                "family",
                f"{spec.name} has {spec.action_space}; allowed: a family with Discrete actions",
            )
        return cls(spec, length)

    @property
    def num_actions(self) -> int:
        """A, the number of actions."""
        return self.family.action_space.num_actions  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def num_observed(self) -> int:
        """O, numbers of an observation."""
        return int(np.prod(self.family.observation_shape))

    @property
    def step_spec(self) -> Spec:
        """The family's spec with observations ``[F]``, one step of a window."""
        size = self.num_observed + self.num_actions + 3
        return dataclasses.replace(
            self.family, observation_shape=(size,), observation_dtype="float32"
        )

    @property
    def spec(self) -> Spec:
        """The family's spec with observations ``[C, F]``, windows."""
        step = self.step_spec
        return dataclasses.replace(step, observation_shape=(self.length, *step.observation_shape))

    def steps(self, seen: ActorInput) -> jax.Array:
        """Steps ``[..., F]`` of inputs with leaves ``[..., O]`` and ``[...]``."""
        shape = seen.start.shape
        observation = jnp.reshape(seen.observation, (*shape, self.num_observed))
        scalars = jnp.stack([seen.last_reward, seen.start, jnp.ones(shape)], axis=-1)
        action = jax.nn.one_hot(seen.last_action, self.num_actions)
        parts = observation.astype(jnp.float32), action, scalars.astype(jnp.float32)
        return jnp.concatenate(parts, axis=-1)

    def reached(self, chunk: Chunk) -> jax.Array:
        """``[T, E, F]``, the steps that those of a chunk led to, before any reset."""
        no = jnp.zeros(chunk.reward.shape, bool)
        return self.steps(ActorInput(chunk.next_observation, chunk.action, chunk.reward, no))

    def blank(self) -> jax.Array:
        """The window before a trial, ``[C, F]``."""
        return jnp.zeros(self.spec.observation_shape)


def real(steps: jax.Array) -> jax.Array:
    """``[...]``, 1 for steps ``[..., F]`` and 0 for blanks."""
    return steps[..., -1]


def pushed(window: jax.Array, step: jax.Array) -> jax.Array:
    """Windows ``[..., C, F]`` one step ``[..., F]`` later."""
    return jnp.concatenate([window[..., 1:, :], step[..., None, :]], axis=-2)


def windows_of(steps: jax.Array, reached: jax.Array, length: int) -> tuple[jax.Array, jax.Array]:
    """Windows of all but the first C - 1 of some successive steps.

    Args:
      steps: ``[C - 1 + n, B, F]``.
      reached: ``[n, B, F]``, the steps that the last n led to.
      length: C.

    Returns:
      windows ``[n, B, C, F]`` of the last n decisions, and of the steps that they led to.
    """
    num = steps.shape[0] - length + 1
    index = jnp.arange(num)[:, None] + jnp.arange(length)
    now = jnp.moveaxis(steps[index], 1, 2)
    return now, pushed(now, reached)


def with_context(learner: Learner, windows: Windows) -> Learner:
    """A learner of windows as a learner of the family itself.

    Its memory is the window of a stream: kept over the ends of episodes, and blank at the
    start of a trial. A replay of windows is ``metajax.inner.q.context_replay``.

    Args:
      learner: A learner of ``windows.spec``, for example a ``q_learner``.
      windows: The windows of the family.
    """
    actor = actor_of(learner)

    def act(noise, theta, phi, memory, seen):
        window = pushed(memory, windows.steps(seen))
        output, _ = actor.act(noise, theta, phi, (), seen._replace(observation=window))
        return output, window

    def predict(theta, phi, chunk):
        return learner.predict(theta, phi, in_windows(windows, chunk))

    return learner._replace(
        predict=predict, actor=actor._replace(memory=lambda theta: windows.blank(), act=act)
    )


def in_windows(windows: Windows, chunk: Chunk) -> Chunk:
    """A chunk that begins a trial, with windows ``[T, E, C, F]`` in the place of observations."""
    steps = windows.steps(actor_inputs(windows.family, chunk))
    blanks = jnp.zeros((windows.length - 1, *steps.shape[1:]))
    steps = jnp.concatenate([blanks, steps])
    now, then = windows_of(steps, windows.reached(chunk), windows.length)
    return chunk._replace(observation=now, next_observation=then)
