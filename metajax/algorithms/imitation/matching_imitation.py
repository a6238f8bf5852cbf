"""Imitation by attention to demonstrated steps."""

from __future__ import annotations

import dataclasses
import functools

from metajax.algorithms.imitation.base import Imitation


@dataclasses.dataclass(frozen=True, kw_only=True)
class MatchingImitation(Imitation):
    """A policy that reads what was demonstrated where the demonstrator saw what it sees.

    Its input is the embedding of the observation and the mean of the demonstrated steps, embedded
    observation and action, weighted by how near the embeddings of the observations are.

    Source: The matching networks of Vinyals et al. (2016), equation 1, with actions in place of
    classes, trained as the policies of Duan et al. (2017), "One-shot imitation learning", by
    cloning across tasks or DAgger. Deviations: squared distances in place of cosines; the
    embedded observations are read beside the actions; no attention over time or objects.
    """

    def learner(self, spec, embedding, head):
        from metajax import inner

        num_inputs = 2 * self.embedding_size + inner.num_action_features(spec)
        return functools.partial(inner.matching_policy, spec, embedding, head(num_inputs))
