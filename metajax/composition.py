"""A whole algorithm from its two halves."""

from collections.abc import Callable
from typing import NamedTuple

import jax

from metajax.core.options import OptionError
from metajax.core.problem import run_trial
from metajax.core.types import (
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
from metajax.data.rollout import fresh_episodes, lifetime, whole_trials

SourceOf = Callable[[TaskFamily, Learner, int], Source]


class Trials(NamedTuple):
    """The kind of an algorithm's trials; ``fresh``, ``continuing`` and ``lifetimes`` make one.

    Attributes:
      source: ``(family, learner, num_streams) -> Source`` of what the learner adapts to.
      judge: likewise, of what the mode of its policy is measured on.
      axis: what returns count.
      num_points: of a lifetime at which it is measured; None measures after each adaptation.
    """

    source: SourceOf
    judge: SourceOf
    axis: str
    num_points: int | None = None


def fresh(horizon: int | None = None) -> Trials:
    """Chunks of whole episodes, each from reset, of ``horizon`` steps at most (MAML)."""

    def episodes(explore: bool) -> SourceOf:
        return lambda family, learner, num_streams: fresh_episodes(
            family, learner, num_streams, episode_horizon(family, horizon), explore
        )

    return Trials(episodes(True), episodes(False), "adaptations")


def continuing(num_episodes: int | None = None, *, final_values: bool = False) -> Trials:
    """Episode after episode with one memory (RL2); as many as the family says by default.

    With ``final_values`` chunks have the value of where each step led before any reset, for
    learners whose advantages stop at the ends of episodes.
    """

    def trials(explore: bool) -> SourceOf:
        return lambda family, learner, num_streams: whole_trials(
            family,
            learner,
            num_streams,
            num_episodes or family.spec.episodes_per_trial,
            explore=explore,
            final_values=final_values,
        )

    return Trials(trials(True), trials(False), "episodes")


def lifetimes(num_steps: int, num_points: int, num_judged: int = 10) -> Trials:
    """Streams that go on from chunk to chunk, ``num_steps`` each (DQN).

    The mode of the policy is measured in ``num_judged`` episodes of its own, at
    ``num_points`` points after the start; so it cannot be where a family's state outlives
    its episodes.
    """

    def streams(family: TaskFamily, learner: Learner, num_streams: int) -> Source:
        return lifetime(family, learner, num_streams, num_steps, num_points=num_points)

    def judge(family: TaskFamily, learner: Learner, num_streams: int) -> Source:
        del num_streams
        if not family.auto_reset:
            raise OptionError(
                "explore",
                f"false is not possible on {family.spec.name}, where something outlives episodes, "
                "so that episodes of their own would be of another state; allowed: true",
            )
        return fresh_episodes(
            family, learner, num_judged, family.spec.episode_length, explore=False
        )

    return Trials(streams, judge, "points", num_points)


def compose(
    learner: Learner,
    outer: Outer,
    family: TaskFamily,
    *,
    num_adaptations: int = 1,
    num_streams: int = 20,
    trials: Trials | None = None,
    microbatch: int | None = None,
    schedules: tuple[str, ...] = (),
) -> MetaAlgorithm:
    """Puts a learner under an outer rule on a task family.

    Args:
      learner: what adapts inside a task.
      outer: what improves theta across tasks.
      family: where tasks come from.
      num_adaptations: K of a trial, unless ``adapt`` is told otherwise. Give what the outer
        rule trains with, which is not seen here: a meta-test takes it for its default.
      num_streams: E, episodes of a chunk; likewise.
      trials: their kind; ``fresh()`` by default. Continuing trials have no adaptations.
      microbatch: tasks of a meta-test that may be one block of the program.
      schedules: names in the outer rule's ``info`` of settings that are learned.

    Returns:
      the ``MetaAlgorithm``.
    """
    kind = fresh() if trials is None else trials
    adapts = kind.axis != "episodes"
    trained, default_streams = family, num_streams
    default_adaptations = num_adaptations if adapts else 0
    kind.source(family, learner, num_streams)  # an impossible size fails here, not in a trial

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
        if count and not adapts:
            raise OptionError(
                "num_adaptations",
                f"{count} is not possible; allowed: 0, as this learner adapts in its memory",
            )
        # Where nothing adapts, what is measured is all there is to run.
        source_of = kind.source if explore or adapts else kind.judge
        judged = adapts and not explore
        return run_trial(
            learner,
            source_of(held_out, learner, streams),
            key,
            theta,
            task,
            num_adaptations=count,
            judge=kind.judge(held_out, learner, streams) if judged else None,
            num_points=kind.num_points,
        )

    return MetaAlgorithm(family, learner, init, step, adapt, kind.axis, microbatch, schedules)


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
