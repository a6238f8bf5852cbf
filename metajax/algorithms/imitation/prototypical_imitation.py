"""Imitation by one embedding of all demonstrations."""

from __future__ import annotations

import dataclasses

from metajax.algorithms.imitation.base import Imitation


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrototypicalImitation(Imitation):
    """A policy conditioned on the mean embedding of the demonstrated steps.

    A demonstrated step is embedded from its observation and its action; the mean over all steps
    of all demonstrations stands for the task, as a prototype stands for a class.

    Source: The prototypes of Snell et al. (2017), equation 1; a policy conditioned on an embedded
    demonstration is that of Duan et al. (2017), "One-shot imitation learning". Deviation: a
    mean over steps in place of attention.
    """

    def learner(self, spec, embedding, head):
        from metajax import inner, networks

        num_inputs = self.embedding_size + inner.num_action_features(spec)
        torso = networks.MLP(self.head_sizes, self.activation)
        step = self.network_of((num_inputs,), torso)
        return inner.pooled_policy(spec, embedding, step, head(2 * self.embedding_size))
