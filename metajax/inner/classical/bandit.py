"""Classical rules for bandits: how to rate the arms by what they have paid.

All of them start from one success and one failure of each arm, which for rewards of 0 or
1 is the prior Beta(1, 1), uniform on [0, 1].

Source of the set and of the definitions: Duan et al. (2016), "RL2: fast reinforcement
learning via slow reinforcement learning", section 3.1 and appendix.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from metajax.core.family import Key
from metajax.inner.classical.posterior_samples import gamma_noise, log_beta
from metajax.inner.classical.scoring import Rule

# Of a trial, drawn before it starts; a block of a meta-test is up to 4096 trials.
_NOISE_BYTES = 2 * 2**20


class ArmStatistics(NamedTuple):
    """What a trial has shown of a bandit.

    Attributes:
      pulls: float32 ``[A]``, how often each arm was pulled.
      total: float32 ``[A]``, the sum of what it paid.
    """

    pulls: jax.Array
    total: jax.Array

    @property
    def successes(self) -> jax.Array:
        """``[A]``, with the one of the prior."""
        return 1 + self.total

    @property
    def failures(self) -> jax.Array:
        """``[A]``, with the one of the prior."""
        return 1 + self.pulls - self.total

    @property
    def mean(self) -> jax.Array:
        """``[A]``, the posterior mean of each arm."""
        return self.successes / (2 + self.pulls)


Score = Callable[[Any, ArmStatistics], jax.Array]


def bandit_rule(num_arms: int, score: Score, noise: Callable[[Key], Any] | None = None) -> Rule:
    """A rule that rates arms by their statistics.

    Args:
      num_arms: A.
      score: ``(noise, statistics) -> [A]``, for example ``posterior_mean``.
      noise: its randomness, if it has any.
    """

    def rate(noise, statistics, seen):
        pulled = jnp.arange(num_arms) == seen.last_action
        statistics = ArmStatistics(
            statistics.pulls + pulled, statistics.total + pulled * seen.last_reward
        )
        return score(noise, statistics), statistics

    def memory():
        return ArmStatistics(jnp.zeros(num_arms), jnp.zeros(num_arms))

    return Rule(memory, rate, noise)


def posterior_mean(noise: Any, statistics: ArmStatistics) -> jax.Array:
    """The score of the greedy rule, ``[A]``."""
    del noise
    return statistics.mean


def upper_confidence(exploration: float | jax.Array, prior_mean: float | jax.Array = 0.5) -> Score:
    """``mean + exploration * sqrt(2 ln t / m)``, in the t-th pull of the trial.

    m counts the pulls of the arm, and two more of the prior, which paid ``prior_mean``.

    Source: UCB1 of Auer et al. (2002), with a factor as in Audibert and Munos (2011).
    """

    def score(noise, statistics):
        del noise
        time = 1 + jnp.sum(statistics.pulls)
        count = 2 + statistics.pulls
        mean = (2 * prior_mean + statistics.total) / count
        return mean + exploration * jnp.sqrt(2 * jnp.log(time) / count)

    return score


def index_table(table: np.ndarray) -> Score:
    """Looks the score of an arm up by what it has shown.

    Args:
      table: ``[n, n]``, by successes and failures without those of the prior. Arms that
        were pulled n times or more are rated by their posterior mean.
    """
    size = len(table)

    def score(noise, statistics):
        del noise
        successes = jnp.round(statistics.total).astype(int)
        failures = jnp.round(statistics.pulls).astype(int) - successes
        last = size - 1
        index = jnp.asarray(table)[jnp.clip(successes, 0, last), jnp.clip(failures, 0, last)]
        return jnp.where(statistics.pulls < size, index, statistics.mean)

    return score


def most_probable_draw(
    num_arms: int, num_samples: int = 1, *, num_pulls: int = 1
) -> tuple[Score, Any]:
    """Draws the means of all arms from the posterior, several times, and keeps one draw.

    It is the draw at which the posterior density of all means together is highest. With
    one sample this is Thompson sampling.

    Source: the optimistic variant in Duan et al. (2016), who say "samples N times from
    the posterior, and takes the one with the highest probability", after May et al.
    (2012), whose own rule (the larger of a draw and the mean) is another one.

    Args:
      num_arms: A.
      num_samples: draws that the most probable one is chosen from.
      num_pulls: of a trial. Where the noise of all of them would be large it is drawn pull
        by pull, which is slower and gives the same.

    Returns:
      the score, and the noise that it needs.
    """

    def draw(key):
        return gamma_noise(key, (num_samples, num_arms, 2))

    size = sum(
        leaf.size * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(jax.eval_shape(draw, jax.random.key(0)))
    )
    ahead = num_pulls * size <= _NOISE_BYTES

    def score(noise, statistics):
        noise = noise if ahead else draw(noise)
        log_success, log_failure = log_beta(noise, statistics.successes, statistics.failures)
        failures = statistics.pulls - statistics.total
        density = jnp.sum(statistics.total * log_success + failures * log_failure, axis=-1)
        return log_success[jnp.argmax(density)]

    return score, draw if ahead else lambda key: key
