"""A chain whose rewards are signal in some states and noise in others."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

from metajax.core.options import AtLeast, Count, NonNegative, Options, check

if TYPE_CHECKING:
    import jax

    from metajax.core.types import TaskFamily


class ChainTask(NamedTuple):
    """A chain, which is walked from state 0 to its end.

    Attributes:
      noisy: bool ``[S]``, in which states the reward is noise.
    """

    noisy: jax.Array


class ChainState(NamedTuple):
    """The state of one episode.

    Attributes:
      time: int32 scalar, steps since the reset; the state too.
    """

    time: jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class XuChain(Options):
    """Options of ``xu-chain``.

    A Markov reward process: there is one action, and what there is to learn are values. An
    episode walks through all states, whose observations are one-hot, and terminates after the
    last. A step from a signal state pays ``signal``, from a noise state Gaussian noise of mean
    0. Noise is all that a value gains by counting what follows a noise state before the next
    signal, so a discount of each state that makes good predictions from few samples is
    low in noise states and high in signal states.

    After the illustrative example of Xu et al. 2018, "Meta-gradient reinforcement learning", a
    process of 10 steps with signals of 0.1 and a discount of each state. There signal and
    noise take turns, which is the order "alternating". "halves" has the noise first and the
    signal after it: the discount of state 5 decides whether the value of state 4 sees it. All
    tasks are the same.

    Attributes:
      num_states: S, steps of an episode.
      signal: reward of a signal state.
      noise_std: standard deviation of the reward of a noise state.
      order: of the states: noise in the first half, or in those of odd number.
      num_episodes: episodes of a trial.
    """

    num_states: Annotated[int, AtLeast(2)] = 10
    signal: float = 0.1
    noise_std: NonNegative = 1.0
    order: Literal["halves", "alternating"] = "halves"
    num_episodes: Count = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        check(
            self.num_states % 2 == 0,
            "num_states",
            self.num_states,
            "an even number of at least 2",
        )

    def build(self) -> TaskFamily:
        """The family; tasks are ``ChainTask(noisy)``."""
        import jax
        import jax.numpy as jnp

        from metajax.core.types import Discrete, Spec, TimeStep
        from metajax.tasks.auto_reset import with_auto_reset

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
        no = jnp.zeros((), bool)

        def observe(time):
            return jax.nn.one_hot(time, size, dtype=jnp.float32)

        def sample(key):
            del key
            states = jnp.arange(size)
            return ChainTask(states < size // 2 if self.order == "halves" else states % 2 == 1)

        def reset(key, task):
            del key, task
            time = jnp.zeros((), jnp.int32)
            seen = observe(time)
            return ChainState(time), TimeStep(seen, jnp.zeros((), jnp.float32), no, no, seen)

        def advance(key, task, state, action):
            del action
            noise = self.noise_std * jax.random.normal(key, (), jnp.float32)
            reward = jnp.where(task.noisy[state.time], noise, jnp.float32(self.signal))
            time = state.time + 1
            seen = observe(time)  # zeros after the last state
            return ChainState(time), TimeStep(seen, reward, time >= size, no, seen)

        return with_auto_reset(spec, sample, reset, advance)
