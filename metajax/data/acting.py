"""The acting half of a learner."""

from metajax.core.options import OptionError
from metajax.core.types import Actor, Learner


def actor_of(learner: Learner) -> Actor:
    """The actor of a learner.

    Raises:
      OptionError: for a learner that does not act.
    """
    if learner.actor is None:
        raise OptionError(
            "learner",
            "has no actor; allowed: a learner with one (metajax.Actor) in an environment, or a "
            "family of labelled examples",
        )
    return learner.actor
