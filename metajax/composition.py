"""A whole algorithm from its two halves."""

import jax

from metajax.options import OptionError
from metajax.source import fresh_episodes, whole_trials
from metajax.trial import run_trial
from metajax.types import (
    Key,
    Learner,
    MetaAlgorithm,
    MetaState,
    Outer,
    Source,
    TaskFamily,
    Tree,
    Trial,
)


def compose(
    learner: Learner,
    outer: Outer,
    family: TaskFamily,
    *,
    num_adaptations: int = 1,
    num_streams: int = 20,
    horizon: int | None = None,
    continuing: bool = False,
    num_episodes: int | None = None,
) -> MetaAlgorithm:
    """Puts a learner under an outer rule on a task family.

    Args:
      learner: what adapts inside a task.
      outer: what improves theta across tasks.
      family: where tasks come from.
      num_adaptations: K of a trial, unless ``adapt`` is told otherwise.
      num_streams: E, episodes of a chunk.
      horizon: T, steps of a chunk; by default the family's episode length.
      continuing: whether a trial is episode after episode with one memory (see
        ``whole_trials``) and not chunks of fresh episodes. It has no adaptations, and
        returns are those of its episodes.
      num_episodes: of a continuing trial; by default ``episodes_per_trial`` of the
        family that the trial is in.

    Returns:
      the ``MetaAlgorithm``.
    """
    length = episode_horizon(family, horizon)
    if continuing:
        num_adaptations = 0
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
        if continuing and count:
            raise OptionError(
                "num_adaptations",
                f"{count} is not possible; allowed: 0, as this learner adapts in its memory",
            )

        def source(explore: bool) -> Source:
            if continuing:
                episodes = num_episodes or held_out.spec.episodes_per_trial
                return whole_trials(held_out, learner, streams, episodes, explore=explore)
            return fresh_episodes(held_out, learner, streams, length, explore)

        judge = None if explore else source(explore=False)
        return run_trial(
            learner, source(explore=True), key, theta, task, num_adaptations=count, judge=judge
        )

    axis = "episodes" if continuing else "adaptations"
    return MetaAlgorithm(family, learner, init, step, adapt, axis)


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
