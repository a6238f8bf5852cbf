"""A whole algorithm from its two halves."""

import jax

from metajax.options import OptionError
from metajax.source import fresh_episodes
from metajax.trial import run_trial
from metajax.types import Key, Learner, MetaAlgorithm, MetaState, Outer, TaskFamily, Tree, Trial


def compose(
    learner: Learner,
    outer: Outer,
    family: TaskFamily,
    *,
    num_adaptations: int = 1,
    num_streams: int = 20,
    horizon: int | None = None,
) -> MetaAlgorithm:
    """Puts a learner under an outer rule on a task family.

    Args:
      learner: what adapts inside a task.
      outer: what improves theta across tasks.
      family: where tasks come from.
      num_adaptations: K of a trial, unless ``adapt`` is told otherwise.
      num_streams: E, episodes of a chunk.
      horizon: T, steps of a chunk; by default the family's episode length.

    Returns:
      the ``MetaAlgorithm``.
    """
    length = episode_horizon(family, horizon)
    trained, default_adaptations, default_streams = family, num_adaptations, num_streams

    def init(key):
        key_theta, key_carry = jax.random.split(key)
        theta = learner.init(key_theta)
        return MetaState(theta, outer.init(key_carry, theta))

    def step(key, state):
        theta, carry, info = outer.update(key, state.theta, state.carry)
        return MetaState(theta, carry), info

    def adapt(
        key: Key,
        theta: Tree,
        task: Tree,
        *,
        family: TaskFamily | None = None,
        num_adaptations: int | None = None,
        num_streams: int | None = None,
        explore: bool = True,
    ) -> Trial:
        held_out = trained if family is None else family
        check_same_spaces(held_out, trained)
        count = default_adaptations if num_adaptations is None else num_adaptations
        streams = default_streams if num_streams is None else num_streams
        source = fresh_episodes(held_out, learner, streams, length)
        judge = None if explore else fresh_episodes(held_out, learner, streams, length, False)
        return run_trial(learner, source, key, theta, task, num_adaptations=count, judge=judge)

    return MetaAlgorithm(family, learner, init, step, adapt)


def episode_horizon(family: TaskFamily, horizon: int | None) -> int:
    """Checks a horizon against the family; the episode length by default.

    Raises:
      OptionError: for a horizon that the family's time limit never lets happen.
    """
    limit = family.spec.episode_length
    if horizon is None:
        return limit
    if not 1 <= horizon <= limit:
        raise OptionError(
            "horizon",
            f"{horizon} is not possible; allowed: 1 to the episode length of "
            f"{family.spec.name}, {limit} steps",
        )
    return horizon


def check_same_spaces(given: TaskFamily, trained: TaskFamily) -> None:
    """Raises OptionError where a held-out family does not fit the trained policy."""
    for field in ("observation_shape", "action_space"):
        mine, theirs = getattr(trained.spec, field), getattr(given.spec, field)
        if mine != theirs:
            raise OptionError(
                "family",
                f"{given.spec.name} has {field} {theirs}; allowed: {mine}, that of "
                f"{trained.spec.name}, which the policy was built for",
            )
