"""RL2 whose memory is also trained to predict rewards."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from metajax.algorithms.memory.rl2 import RL2
from metajax.core.options import NonNegative

if TYPE_CHECKING:
    import jax

    from metajax.core.family import Tree
    from metajax.core.types import Chunk, Outputs


@dataclasses.dataclass(frozen=True, kw_only=True)
class RL2RewardPrediction(RL2):
    """RL2 with the auxiliary task of reward prediction of UNREAL (Jaderberg et al. 2017).

    A head reads the reward of a step off the memory's features and the action, so that the
    memory has to hold what rewards tell of the task.

    Source: Jaderberg et al. (2017), "Reinforcement learning with unsupervised auxiliary
    tasks", section 3.2. Deviations: the reward itself is predicted instead of its sign, from
    the trials that the policy is trained on instead of a replay with more of the rare rewards,
    and for the action that was taken.

    Attributes:
      reward_coefficient: Weight of half the squared error of the predicted rewards.
    """

    reward_coefficient: NonNegative = 1.0

    def arithmetic(self, spec):
        return None  # the head is not counted

    def learner(self, family):
        import jax.numpy as jnp

        learner = super().learner(family)

        def init(key):
            theta = learner.init(key)
            num_features, num_actions = theta["heads"]["policy"]["Dense_0"]["kernel"].shape
            kernel = jnp.zeros((num_features, 1 + num_actions))
            return {**theta, "reward": {"kernel": kernel, "bias": jnp.zeros(1 + num_actions)}}

        return learner._replace(init=init)

    def terms(self):
        return {**super().terms(), "reward_error": (self.reward_coefficient, reward_error)}


def reward_error(theta: Tree, outputs: Outputs, chunk: Chunk) -> jax.Array:
    """Half the mean squared error of ``(1, action) @ (kernel^T features + bias)``.

    The prediction is linear in the action, one-hot where it is ``Discrete``, with coefficients
    that are linear in the features.
    """
    import jax
    import jax.numpy as jnp

    from metajax import losses

    coefficients = outputs.features @ theta["reward"]["kernel"] + theta["reward"]["bias"]
    action = chunk.action
    if jnp.issubdtype(action.dtype, jnp.integer):
        action = jax.nn.one_hot(action, coefficients.shape[-1] - 1)
    predicted = coefficients[..., 0] + jnp.sum(coefficients[..., 1:] * action, axis=-1)
    return 0.5 * losses.masked_mean(jnp.square(predicted - chunk.reward), chunk.mask)
