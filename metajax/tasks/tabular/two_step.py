"""The two-step task."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, NamedTuple

from metajax.core.options import AtLeast, AtMost, Count, Fraction, Options

if TYPE_CHECKING:
    import jax

    from metajax.core.family import TaskFamily


class TwoStepTask(NamedTuple):
    """The rich state at the start of the trial."""

    rich: jax.Array  # bool scalar; false if state 1 pays more, true if state 2 does


class TwoStepState(NamedTuple):
    """State of one stream."""

    state: jax.Array  # int32 scalar, 0 at the first stage, 1 or 2 at the second
    rich: jax.Array  # bool scalar, current value of TwoStepTask.rich; persists across episodes
    time: jax.Array  # int32 scalar, steps since the reset


@dataclasses.dataclass(frozen=True, kw_only=True)
class TwoStep(Options):
    """Two-step task (Wang et al. 2018): credit for a reward depends on the transition to it.

    An episode has two steps. In state 0 the first action leads to state 1 and the second to
    state 2 with ``common_probability``, and to the other state otherwise. There any action
    pays 1 with ``reward_probability`` in the rich state and with its complement in the poor
    state, else 0, and the episode terminates. After each episode the two states swap roles
    with ``switch_probability``, so the best action changes within a trial.

    Source: Wang et al. (2018), "Prefrontal cortex as a meta-reinforcement learning system",
    in the widely circulated form. The original form, Wang et al. (2016), "Learning to
    reinforcement learn", section 3.2.1, is ``common_probability=0.75,
    switch_probability=0``. A trial in these papers is an episode here, and an episode there
    is a trial here.

    Attributes:
      num_episodes: Episodes per trial.
      common_probability: Probability of the usual transition of an action.
      reward_probability: Probability of a reward in the rich state.
      switch_probability: Probability per episode that the rich and the poor state swap.
    """

    num_episodes: Count = 100
    common_probability: Annotated[float, AtLeast(0.5), AtMost(1)] = 0.8
    reward_probability: Annotated[float, AtLeast(0.5), AtMost(1)] = 0.9
    switch_probability: Fraction = 0.025

    def build(self) -> TaskFamily:
        """The family; tasks are ``TwoStepTask(rich)``."""
        import jax
        import jax.numpy as jnp

        from metajax.core.family import Discrete, Spec, TaskFamily
        from metajax.tasks.auto_reset import or_restart, time_step

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
            # The policy that observes every switch.
            optimal_return=lambda task: jnp.full(task.rich.shape, best, jnp.float32),
        )

        def observe(state):
            return jax.nn.one_hot(state, 3, dtype=jnp.float32)

        def sample(key):
            return TwoStepTask(jax.random.bernoulli(key))

        def reset(key, task):
            del key
            zero = jnp.zeros((), jnp.int32)
            return TwoStepState(zero, task.rich, zero), time_step(observe(zero))

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
            timestep = time_step(observe(next_state), paid, terminated=second_stage)
            return TwoStepState(next_state, state.rich ^ switched, state.time + 1), timestep

        def step(key, task, state, action):
            # Unlike with_auto_reset, restart from the current roles: switches persist.
            key_advance, key_reset = jax.random.split(key)
            state, timestep = advance(key_advance, task, state, action)
            return or_restart(state, timestep, *reset(key_reset, TwoStepTask(state.rich)))

        return TaskFamily(spec=spec, sample=sample, reset=reset, step=step, advance=advance)


def stay_probabilities(observation: jax.Array, action: jax.Array, reward: jax.Array) -> jax.Array:
    """Probabilities of repeating the first action of the previous episode.

    The analysis that separates model-based from model-free choices: a model-free learner
    repeats an action after a reward; a model-based one after a reward that followed a
    common transition, and after no reward that followed a rare one.

    Source: Daw et al. (2011), "Model-based influences on humans' choices and striatal
    prediction errors".

    Args:
      observation: ``[T, ..., 3]``, whole trials, with T twice the number of episodes. All
        further axes (streams, tasks) are pooled.
      action: ``[T, ...]``.
      reward: ``[T, ...]``.

    Returns:
      float32 ``[2, 2]``, by the previous episode: without and with reward, after a rare and
      a common transition. NaN for a combination that never occurred.
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
