"""Imitation by attention to demonstrated steps."""

from __future__ import annotations

import dataclasses
import functools

from metajax.algorithms.imitation.base import Imitation


@dataclasses.dataclass(frozen=True, kw_only=True)
class MatchingImitation(Imitation):
    """A policy that reads the demonstrated actions where the demonstrator saw what it sees.

    Its input is the embedding of the observation and the mean demonstrated action, weighted by
    how near the embedding of the demonstrated observation is.

    Source: The matching networks of Vinyals et al. (2016), equation 1, with actions in place of
    classes; trained as the one-shot imitation of Duan et al. (2017), "One-shot imitation
    learning", sections 3 and 4.2, by cloning across tasks or DAgger. Deviations: squared
    distances in place of cosines; no attention over time or objects, as the latter's tasks need.
    """

    def learner(self, spec, embedding, head):
        from metajax import inner

        num_inputs = self.embedding_size + inner.num_action_features(spec)
        return functools.partial(inner.matching_policy, spec, embedding, head(num_inputs))
