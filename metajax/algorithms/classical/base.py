"""What the classical methods have in common: statistics of the trial, and no training."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar, Literal

from metajax.algorithms.common.layouts import InBlocks
from metajax.core.options import Count, OptionError, Positive

if TYPE_CHECKING:
    import jax

    from metajax.core.algorithm import MetaAlgorithm
    from metajax.core.family import Key, Spec, Tabular, TaskFamily
    from metajax.inner.classical.planning import Backup
    from metajax.inner.classical.scoring import Rule
    from metajax.inner.classical.tabular import Counts, Prior

Ties = Literal["first", "random"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Classical(InBlocks):
    """Options of every method that is not trained.

    Theta is ``()``. ``metajax.train`` leaves it so and reports returns of fresh trials.

    Attributes:
      ties: Choice among equally good actions: "first", the one of the lowest number, or "random",
        each as likely as the others. Default: the choice that reproduces the tables of Duan et
        al. (2016): "first" for BEB, for rules of bandits, and for greedy and epsilon-greedy on
        arms that pay 1 or nothing; "random" for all other methods that plan.
      num_tasks: Number of fresh tasks N that an iteration of ``train`` reports on.
      num_episodes: Number of episodes in a trial. Default: the family's.
    """

    ties: Ties | None = None
    num_episodes: Count | None = None

    learns: ClassVar[bool] = False
    name: ClassVar[str]
    usual_ties: ClassVar[Ties] = "first"

    def rule(self, spec: Spec) -> Rule:
        """How the method rates actions; raises OptionError for a family that it cannot work on."""
        raise NotImplementedError

    def randomness(self) -> float | jax.Array:
        """Probability of a uniformly random action."""
        return 0.0

    def tie_rule(self, spec: Spec) -> Ties:
        """What decides among equally good actions."""
        del spec
        return self.ties or self.usual_ties

    def build(self, family: TaskFamily) -> MetaAlgorithm:
        """The algorithm on a task family; see ``rule`` for its errors."""
        from metajax import inner, outer
        from metajax.composition import compose
        from metajax.data.continuing import continuing

        learner = inner.scoring_learner(
            family.spec,
            self.rule(family.spec),
            exploration=self.randomness(),
            ties=self.tie_rule(family.spec),
        )
        problem = continuing(family, learner, num_episodes=self.num_episodes)
        rule = outer.untrained(problem, self.layout())
        algorithm = compose(problem, rule, microbatch=self.microbatch)

        trained = family.spec

        def adapt(key, theta, task, *, family=None, **options):
            if family is not None:
                self.check_held_out(family.spec, trained)
            return algorithm.adapt(key, theta, task, family=family, **options)

        return algorithm._replace(adapt=adapt)

    def check_held_out(self, given: Spec, planned: Spec) -> None:
        """Raises OptionError where a held-out family is not what the method has planned for."""
        for field in ("tabular", "episode_length"):
            mine, theirs = getattr(planned, field), getattr(given, field)
            if mine != theirs:
                raise OptionError(
                    "family",
                    f"{given.name} has {field} {theirs}; allowed: {mine}, that of {planned.name}, "
                    "for which the method plans",
                )

    def needs(self, spec: Spec, condition: bool, kind: str) -> None:
        """Raises OptionError unless the family is of the kind that the method needs."""
        if not condition:
            raise OptionError("family", f"{self.name} needs {kind}; {spec.name} is none")

    def needs_tabular(self, spec: Spec, kind: str) -> Tabular:
        """What a family says of its states; raises OptionError where it says nothing."""
        if spec.tabular is None:
            raise OptionError(
                "family",
                f"{self.name} needs {kind} with tabular in its spec; that of {spec.name} has none",
            )
        return spec.tabular


@dataclasses.dataclass(frozen=True, kw_only=True)
class BanditMethod(Classical):
    """A method for bandits.

    Attributes:
      binary: whether the arms must pay 1 or nothing.
    """

    binary: ClassVar[bool] = True

    def rule(self, spec):
        from metajax.core.family import Discrete

        tabular = self.needs_tabular(spec, "a bandit family")
        is_bandit = tabular.num_states == 1 and spec.episode_length == 1
        self.needs(spec, is_bandit, "a bandit family")
        if self.binary:
            binary = tabular.rewards == "bernoulli"
            self.needs(spec, binary, "a bandit family whose arms pay 1 or nothing")
        assert isinstance(spec.action_space, Discrete)
        return self.bandit_rule(spec.action_space.num_actions, spec)

    def bandit_rule(self, num_arms: int, spec: Spec) -> Rule:
        """How the method rates arms."""
        raise NotImplementedError

    def num_pulls(self, spec: Spec) -> int:
        """Pulls of a trial of the family."""
        return self.num_episodes or spec.episodes_per_trial


@dataclasses.dataclass(frozen=True, kw_only=True)
class TabularMethod(Classical):
    """A method that plans in beliefs about a finite Markov decision process.

    It plans by backward induction over the episode length, at the start of each episode,
    and keeps to the plan until the next. The state after the last step of an episode is
    never seen and not counted. The defaults are those of Duan et al. (2016), who assume
    rewards of mean 0 where their tasks have mean 1.

    Attributes:
      prior_mean: Mean of the belief about the expected reward of a state and action, a Gaussian.
      prior_precision: Precision (one over the variance) of the belief about an expected reward.
      noise_precision: Precision of a reward given its expectation, as the method believes. The
        method must be told where a family's is not 1.
      dirichlet_prior: Concentration of each next state in the belief about transitions.
    """

    prior_mean: float = 0.0
    prior_precision: Positive = 1.0
    noise_precision: Positive = 1.0
    dirichlet_prior: Positive = 1.0

    random: ClassVar[bool] = False
    usual_ties: ClassVar[Ties] = "random"

    def rule(self, spec):
        from metajax import inner
        from metajax.core.family import Discrete
        from metajax.inner.classical.planning import backward_induction

        kind = "a family of bandits or tabular MDPs"
        self.needs_tabular(spec, kind)
        self.needs(spec, isinstance(spec.action_space, Discrete), kind)

        def plan(key, counts):
            backup = self.backup(key, self.prior(), counts)
            return backward_induction(backup, len(counts.visits), spec.episode_length)

        return inner.episodic_planner(spec, plan, random=self.random)

    def prior(self) -> Prior:
        """The beliefs before anything is seen."""
        from metajax.inner.classical.tabular import Prior

        return Prior(
            self.prior_mean, self.prior_precision, self.noise_precision, self.dirichlet_prior
        )

    def backup(self, key: Key, prior: Prior, counts: Counts) -> Backup:
        """What the method plans with."""
        raise NotImplementedError
