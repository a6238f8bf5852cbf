"""Values that a few transitions of another policy adapt to a new task."""

from __future__ import annotations

import dataclasses
from typing import Any

from metajax.algorithms.gradient.off_policy_based import OffPolicyBased
from metajax.core.options import API, Fraction, NonNegative, OptionError, check


@dataclasses.dataclass(frozen=True, kw_only=True)
class MetaValue(OffPolicyBased):
    """Off-policy MAML (Finn et al. 2017) for prediction: initial weights of a value network.

    In a task a noisy policy acts, uniform where ``epsilon`` is 1, and gradient steps on
    importance-sampled targets adapt the values of the target policy, which does not learn.
    Theta descends half the squared error of the adapted predictions against their targets
    on a chunk of query transitions. As nothing acts on the values, returns are those of a
    policy that does not learn.

    Source: Finn et al. (2017), algorithm 1, with targets in the place of labels: those of Precup,
    Sutton and Singh (2000), "per-decision"; of Espeholt et al. (2018), "vtrace"; or of Munos et al.
    (2016), "retrace".

    Attributes:
      target_policy: Function from observations ``[B, O]`` to logits ``[B, A]``, the policy whose
        values are predicted (Python only).
      target_probabilities: Probabilities of the target policy's actions, the same for every
        observation; unused where ``target_policy`` is given. Default: uniform.
    """

    epsilon: Fraction = 1.0
    target_policy: Any = dataclasses.field(default=None, metadata=API)
    target_probabilities: tuple[NonNegative, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        given = self.target_probabilities
        if given is not None:
            whole = abs(sum(given) - 1) < 1e-6
            check(whole, "target_probabilities", given, "numbers whose sum is 1")

    def build(self, family: Any) -> Any:
        return super().build(family)._replace(headline=("loss", "prediction error"))

    def learner(self, family: Any) -> Any:
        from metajax import inner

        num_actions = family.spec.action_space.num_actions
        return inner.value_learner(
            self.values(family),
            self._policy(num_actions),
            num_actions,
            inner=self.inner_rule(),
            correction=self.inner_correction(),
            epsilon=self.epsilon,
            updates=self.updates,
        )

    def query_loss(self):
        from metajax import losses

        return losses.temporal_difference_loss

    def _policy(self, num_actions: int) -> Any:
        import jax.numpy as jnp

        if self.target_policy is not None:
            return self.target_policy
        given = self.target_probabilities or (1 / num_actions,) * num_actions
        if len(given) != num_actions:
            raise OptionError(
                "target_probabilities",
                f"{len(given)} given; allowed: {num_actions}, one for each action",
            )
        logits = jnp.log(jnp.maximum(jnp.asarray(given), 1e-37))
        return lambda observation: jnp.broadcast_to(logits, (len(observation), num_actions))
