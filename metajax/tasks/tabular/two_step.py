"""The two-step task, in which reward and transition must be taken into account together."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, NamedTuple

from metajax.core.options import AtLeast, AtMost, Count, Fraction, Options

if TYPE_CHECKING:
    import jax

    from metajax.core.types import TaskFamily


class TwoStepTask(NamedTuple):
    """A task: what is true at the start of the trial.

    Attributes:
      rich: bool scalar, false where state 1 pays more and true where state 2 does.
    """

    rich: jax.Array


class TwoStepState(NamedTuple):
    """The state of one stream.

    Attributes:
      state: int32 scalar, 0 at the first stage, 1 or 2 at the second.
      rich: bool scalar as in the task, but of now; survives the end of an episode.
      time: int32 scalar, steps since the reset.
    """

    state: jax.Array
    rich: jax.Array
    time: jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class TwoStep(Options):
    """Options of ``two-step``.

    An episode has two steps. From state 0 the first action leads to state 1 and the
    second to state 2, each with ``common_probability``, and otherwise to the other
    one. There every action earns 1 with ``reward_probability`` in the rich state and
    with one minus it in the poor state, else 0, and the episode terminates. After an
    episode the two states swap their roles with ``switch_probability``: that goes on
    through the whole trial, so the best action changes within it.

    Follows Wang et al. 2018, "Prefrontal cortex as a meta-reinforcement learning
    system", in the form that circulates with it. The first form of the task, Wang et al. 2016,
    "Learning to reinforcement learn", section 3.2.1, is ``common_probability=0.75,
    switch_probability=0``. Their trial is an episode here, their episode a trial.

    Attributes:
      num_episodes: episodes of a trial.
      common_probability: of the transition that belongs to the action.
      reward_probability: of a reward in the rich state.
      switch_probability: that rich and poor swap, per episode.
    """

    num_episodes: Count = 100
    common_probability: Annotated[float, AtLeast(0.5), AtMost(1)] = 0.8
    reward_probability: Annotated[float, AtLeast(0.5), AtMost(1)] = 0.9
    switch_probability: Fraction = 0.025

    def build(self) -> TaskFamily:
        """The family; tasks are ``TwoStepTask(rich)``."""
        import jax
        import jax.numpy as jnp

        from metajax.core.types import Discrete, Spec, TaskFamily, TimeStep

        common, pays = self.common_probability, self.reward_probability
        best = common * pays + (1 - common) * (1 - pays)
        spec = Spec(
            name="two-step",
            observation_shape=(3,),
            action_space=Discrete(2),
            episode_length=2,
            episodes_per_trial=self.num_episodes,
            random_return=0.5,
            oracle_return=best,
            # Of the policy that is told of every switch.
            optimal_return=lambda task: jnp.full(task.rich.shape, best, jnp.float32),
        )

        def observe(state):
            return jax.nn.one_hot(state, 3, dtype=jnp.float32)

        def sample(key):
            return TwoStepTask(jax.random.bernoulli(key))

        def reset(key, task):
            del key
            zero, no = jnp.zeros((), jnp.int32), jnp.zeros((), bool)
            first = observe(zero)
            timestep = TimeStep(first, jnp.zeros((), jnp.float32), no, no, first)
            return TwoStepState(zero, task.rich, zero), timestep

        def advance(key, task, state, action):
            del task
            draw, switch = jax.random.uniform(key, (2,))
            second_stage = state.time == 1
            intended = jnp.clip(action, 0, 1) + 1
            arrived = jnp.where(draw < common, intended, 3 - intended)
            next_state = jnp.where(second_stage, state.state, arrived).astype(jnp.int32)
            is_rich = (state.state == 2) == state.rich
            paid = second_stage & (draw < jnp.where(is_rich, pays, 1 - pays))
            switched = second_stage & (switch < self.switch_probability)
            seen = observe(next_state)
            timestep = TimeStep(
                observation=seen,
                reward=paid.astype(jnp.float32),
                terminated=second_stage,
                truncated=jnp.zeros((), bool),
                final_observation=seen,
            )
            return TwoStepState(next_state, state.rich ^ switched, state.time + 1), timestep

        def step(key, task, state, action):
            # Not with_auto_reset, whose reset would undo the switches so far.
            key_advance, key_reset = jax.random.split(key)
            state, timestep = advance(key_advance, task, state, action)
            fresh, first = reset(key_reset, TwoStepTask(state.rich))
            state = TwoStepState(
                state=jax.lax.select(timestep.done, fresh.state, state.state),
                rich=state.rich,
                time=jax.lax.select(timestep.done, fresh.time, state.time),
            )
            observation = jax.lax.select(timestep.done, first.observation, timestep.observation)
            return state, timestep._replace(observation=observation)

        return TaskFamily(spec=spec, sample=sample, reset=reset, step=step, advance=advance)


def stay_probabilities(observation: jax.Array, action: jax.Array, reward: jax.Array) -> jax.Array:
    """How often the first action of an episode is that of the episode before.

    The analysis that tells planning from habit, Daw et al. 2011, "Model-based
    influences on humans' choices and striatal prediction errors": a habit stays after
    a reward, a planner stays after a reward that a common transition led to and after
    no reward that a rare one led to.

    Args:
      observation: ``[T, ..., 3]`` of whole trials, T twice the number of episodes; all
        further axes, streams or tasks, are pooled.
      action: ``[T, ...]``.
      reward: ``[T, ...]``.

    Returns:
      float32 ``[2, 2]``, by the episode before: without and with a reward, after a
      rare and a common transition. NaN where that never happened.
    """
    import jax.numpy as jnp

    first_action, arrived = action[::2], jnp.argmax(observation[1::2], axis=-1)
    is_common = (arrived == first_action + 1)[:-1]
    is_rewarded = (reward[1::2] > 0)[:-1]
    stays = first_action[1:] == first_action[:-1]

    def frequency(rewarded, common):
        chosen = (is_rewarded == rewarded) & (is_common == common)
        return jnp.sum(stays & chosen) / jnp.sum(chosen)

    return jnp.array([[frequency(r, c) for c in (False, True)] for r in (False, True)])
