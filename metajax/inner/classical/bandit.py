"""Classical bandit rules: scores of the arms from their past rewards.

All rules start with one success and one failure per arm, which for rewards of 0 or 1 is the
prior Beta(1, 1), uniform on [0, 1].

Source: Duan et al. (2016), "RL2: fast reinforcement learning via slow reinforcement
learning", section 3.1 and appendix.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from metajax.core.family import Key
from metajax.inner.classical.posterior_samples import gamma_noise, log_beta
from metajax.inner.classical.scoring import Rule

# Largest noise of one trial to draw ahead; a block of a meta-test is up to 4096 trials.
_NOISE_BYTES = 2 * 2**20


class ArmStatistics(NamedTuple):
    """Sufficient statistics of a bandit in one trial.

    Attributes:
      pulls: float32 ``[A]``, number of pulls of each arm.
      total: float32 ``[A]``, sum of the rewards of each arm.
    """

    pulls: jax.Array
    total: jax.Array

    @property
    def successes(self) -> jax.Array:
        """Successes of each arm, ``[A]``, including one from the prior."""
        return 1 + self.total

    @property
    def failures(self) -> jax.Array:
        """Failures of each arm, ``[A]``, including one from the prior."""
        return 1 + self.pulls - self.total

    @property
    def mean(self) -> jax.Array:
        """Posterior mean of each arm, ``[A]``."""
        return self.successes / (2 + self.pulls)


Score = Callable[[Any, ArmStatistics], jax.Array]


def bandit_rule(num_arms: int, score: Score, noise: Callable[[Key], Any] | None = None) -> Rule:
    """A rule that scores arms by their statistics.

    Args:
      num_arms: Number of arms, A.
      score: ``(noise, statistics) -> [A]``, for example ``posterior_mean``.
      noise: ``(key) -> noise`` of one decision. Default: a deterministic score.
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
    """The score ``[A]`` of the greedy rule."""
    del noise
    return statistics.mean


def upper_confidence(exploration: float | jax.Array, prior_mean: float | jax.Array = 0.5) -> Score:
    """The UCB1 score ``mean + exploration * sqrt(2 ln t / m)`` at the t-th pull of the trial.

    m is the number of pulls of the arm plus two prior pulls with rewards of ``prior_mean``.

    Source: Auer et al. (2002), with an exploration factor as in Audibert and Munos (2011).
    """

    def score(noise, statistics):
        del noise
        time = 1 + jnp.sum(statistics.pulls)
        count = 2 + statistics.pulls
        mean = (2 * prior_mean + statistics.total) / count
        return mean + exploration * jnp.sqrt(2 * jnp.log(time) / count)

    return score


def index_table(table: np.ndarray) -> Score:
    """A score looked up in a table.

    Args:
      table: ``[n, n]``, scores by observed successes and failures, without those of the
        prior. Arms with n pulls or more score their posterior mean.
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
    """Optimistic Thompson sampling: the most probable of several posterior draws.

    A draw is the means of all arms, and the score is the draw with the highest joint
    posterior density. One sample is Thompson sampling.

    Source: the optimistic variant of Duan et al. (2016), who write "samples N times from the
    posterior, and takes the one with the highest probability", after May et al. (2012). The
    rule of May et al. differs: the larger of a draw and the mean.

    Args:
      num_arms: Number of arms, A.
      num_samples: Draws to choose from.
      num_pulls: Pulls per trial. If the noise of a whole trial would be large, it is drawn
        pull by pull instead of ahead: slower, with the same result.

    Returns:
      The score, and the function ``(key) -> noise`` for it.
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
