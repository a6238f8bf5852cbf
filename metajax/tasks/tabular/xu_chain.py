"""The chain of Xu et al. (2018)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

from metajax.core.options import AtLeast, Count, NonNegative, Options, check

if TYPE_CHECKING:
    import jax

    from metajax.core.family import TaskFamily


class ChainTask(NamedTuple):
    """A chain, walked from state 0 to the last state."""

    noisy: jax.Array  # bool [S]; states with a noise reward


class ChainState(NamedTuple):
    """State of one episode."""

    time: jax.Array  # int32 scalar, steps since the reset, also the index of the current state


@dataclasses.dataclass(frozen=True, kw_only=True)
class XuChain(Options):
    """Signal-and-noise chain (Xu et al. 2018): a Markov reward process for learned discounts.

    There is one action; only values can be learned. An episode visits all states in order
    and terminates after the last; observations are one-hot. A signal state pays ``signal``,
    a noise state Gaussian noise of mean 0. Looking past a noise state adds nothing but
    variance until the next signal, so state-dependent discounts that predict well from few
    samples are low in noise states and high in signal states. All tasks are identical.

    Source: the illustrative example of Xu et al. (2018), "Meta-gradient reinforcement
    learning": 10 states with signals of 0.1 and one discount per state. Signal and noise
    alternate there, as with ``order="alternating"``. With ``order="halves"`` noise comes
    first, and the discount of state 5 decides whether the value of state 4 includes the
    signals.

    Attributes:
      num_states: Number of states, S, and of steps per episode.
      signal: Reward of a signal state.
      noise_std: Standard deviation of the reward of a noise state.
      order: Position of the noise states: "halves" for the first half, "alternating"
        for odd states.
      num_episodes: Episodes per trial.
    """

    num_states: Annotated[int, AtLeast(2)] = 10
    signal: float = 0.1
    noise_std: NonNegative = 1.0
    order: Literal["halves", "alternating"] = "halves"
    num_episodes: Count = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        check(
            self.num_states % 2 == 0, "num_states", self.num_states, "an even number of at least 2"
        )

    def build(self) -> TaskFamily:
        """The family; tasks are ``ChainTask(noisy)``."""
        import jax
        import jax.numpy as jnp

        from metajax.core.family import Discrete, Spec
        from metajax.tasks.auto_reset import time_step, with_auto_reset

        size = self.num_states
        expected = self.signal * size / 2
        spec = Spec(
            name="xu-chain",
            observation_shape=(size,),
            action_space=Discrete(1),
            episode_length=size,
            episodes_per_trial=self.num_episodes,
            random_return=expected,
            oracle_return=expected,
        )

        def observe(time):
            return jax.nn.one_hot(time, size, dtype=jnp.float32)

        def sample(key):
            del key
            states = jnp.arange(size)
            return ChainTask(states < size // 2 if self.order == "halves" else states % 2 == 1)

        def reset(key, task):
            del key, task
            time = jnp.zeros((), jnp.int32)
            return ChainState(time), time_step(observe(time))

        def advance(key, task, state, action):
            del action
            noise = self.noise_std * jax.random.normal(key, (), jnp.float32)
            reward = jnp.where(task.noisy[state.time], noise, jnp.float32(self.signal))
            time = state.time + 1
            # The observation after the last state is all zeros.
            return ChainState(time), time_step(observe(time), reward, terminated=time >= size)

        return with_auto_reset(spec, sample, reset, advance)
