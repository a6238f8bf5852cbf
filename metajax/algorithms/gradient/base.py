"""What MAML, FOMAML, Reptile and joint training have in common.

Options are plain dataclasses and JAX is imported where it is first used, so that
`metajax --help` and a mistake in a config file are answered at once.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

from metajax.algorithms.common.optimizers import MetaOptimized
from metajax.algorithms.common.torsos import WithTorso
from metajax.core.options import API, OptionError, check_number

if TYPE_CHECKING:
    from metajax.core.algorithm import MetaAlgorithm, Outer
    from metajax.core.family import TaskFamily
    from metajax.core.layout import Layout
    from metajax.core.problem import Problem
    from metajax.core.types import Learner
    from metajax.inner.descent import Rule
    from metajax.networks import Policy


@dataclasses.dataclass(frozen=True, kw_only=True)
class GradientBased(MetaOptimized, WithTorso):
    """Options of every algorithm that adapts by policy-gradient steps.

    Attributes:
      num_tasks: N, tasks of a meta-batch.
      num_streams: E, episodes of a task before each adaptation.
      horizon: T, steps; the family's episode length if not given.
      inner_steps: K, adaptations of a trial, each on fresh episodes.
      inner_lr: step size of the adaptation; a list gives a rate for each gradient
        step of a trial, and the last one holds from then on.
      inner_clip: largest norm of an inner gradient; none for no clipping.
      inner: an optax transformation or ``(key, theta, phi, chunk) -> phi`` instead
        of SGD with ``inner_lr`` (Python only).
      updates_per_step: steps of the inner rule on each chunk.
      network: a flax module, observations ``[B, O]`` to features ``[B, F]``,
        instead of the MLP; a value network is another one of the kind (Python only).
      head_scale: of the policy's last kernel at the start, relative to Glorot's.
      initial_std: initial standard deviation of continuous actions.
      min_std: its floor.
      baseline: of the advantages: a linear fit to each chunk, a value network that
        adapts with the policy, or none.
      discount: per step.
      gae_lambda: of the advantage estimate; 1 is Monte-Carlo.
      normalize_advantages: within each task.
      microbatch: tasks whose rollouts run as one block; chosen by itself.
      gradient_microbatch: tasks whose meta-gradients are one block, likewise.
      devices: that share the tasks; all that divide their number by default.
    """

    num_tasks: int = 40
    num_streams: int = 20
    horizon: int | None = None
    inner_steps: int = 1
    inner_lr: float | tuple[float, ...] = 0.1
    inner_clip: float | None = None
    inner: Any = dataclasses.field(default=None, metadata=API)
    updates_per_step: int = 1
    hidden_sizes: tuple[int, ...] = (100, 100)
    head_scale: float = 1.0
    initial_std: float = 1.0
    min_std: float = 1e-6
    baseline: Literal["linear", "value", "none"] = "linear"
    discount: float = 0.99
    gae_lambda: float = 1.0
    normalize_advantages: bool = True
    microbatch: int | None = None
    gradient_microbatch: int | None = None
    devices: int | None = None

    def __post_init__(self) -> None:
        self.check_meta_optimizer()
        self.check_torso()
        for name in ("num_tasks", "num_streams", "updates_per_step"):
            check_number(name, getattr(self, name), minimum=1)
        for name in ("horizon", "microbatch", "gradient_microbatch", "devices"):
            check_number(name, getattr(self, name), minimum=1)
        check_number("inner_steps", self.inner_steps, minimum=0)
        check_number("inner_lr", self.inner_lr, minimum=0)
        if self.inner is not None and (
            hasattr(self.inner_lr, "dtype") or self.inner_lr != type(self).inner_lr
        ):
            problem = "is not possible beside inner, which has a rate of its own; leave one out"
            raise OptionError("inner_lr", problem)
        if isinstance(self.inner_lr, tuple) and not self.inner_lr:
            raise OptionError("inner_lr", "is empty; allowed: a number, or one for each step")
        for name in ("inner_clip", "head_scale", "initial_std", "min_std"):
            check_number(name, getattr(self, name), above=0)
        for name in ("discount", "gae_lambda"):
            check_number(name, getattr(self, name), minimum=0, maximum=1)

    def build(self, family: TaskFamily) -> MetaAlgorithm:
        """The algorithm on a task family.

        Raises:
          OptionError: for sizes that do not fit the family or the devices.
        """
        from metajax.composition import compose

        problem = self.problem(family)
        return compose(problem, self.outer_rule(problem, self.layout()), microbatch=self.microbatch)

    def problem(self, family: TaskFamily) -> Problem:
        """The learner of these options in its trials."""
        from metajax.data.fresh import fresh

        return fresh(
            family,
            self.learner(family),
            num_adaptations=self.inner_steps,
            num_streams=self.num_streams,
            horizon=self.horizon,
        )

    def layout(self) -> Layout:
        """Blocks and devices of the tasks."""
        from metajax.core.layout import Layout

        return Layout.build(
            self.num_tasks,
            self.microbatch,
            self.gradient_microbatch,
            self.devices,
            num_minibatches=self.minibatches,
        )

    def outer_rule(self, problem: Problem, layout: Layout) -> Outer:
        """How the initial weights improve; each algorithm has its own."""
        raise NotImplementedError

    @property
    def minibatches(self) -> int:
        """Number of parts of the tasks with separate updates."""
        return 1

    def inner_surrogate(self) -> str:
        """Name of the loss that the adaptation descends."""
        return "score"

    def policy(self, family: TaskFamily) -> Policy:
        """The network to adapt."""
        from metajax import networks

        return networks.policy(
            family.spec,
            self.torso(),
            head_scale=self.head_scale,
            initial_std=self.initial_std,
            min_std=self.min_std,
            value_network=self.torso() if self.baseline == "value" else None,
        )

    def inner_rule(self) -> Rule:
        """The rule of the gradient steps, as a function of theta."""
        import optax

        from metajax import inner

        rule = self.inner
        if rule is None:
            rule = optax.sgd(inner.step_sizes(self.inner_lr))
        rule = inner.as_rule(rule)
        if self.inner_clip is None:
            return rule
        clip = inner.clip_by_global_norm(self.inner_clip)
        return lambda theta: optax.chain(clip, rule(theta))

    def learner(self, family: TaskFamily, **changes: Any) -> Learner:
        """The policy of these options, adapted by gradient steps.

        Args:
          family: The task family.
          **changes: Other arguments of ``metajax.inner.reinforce``.
        """
        from metajax import inner

        arguments = {
            "inner": self.inner_rule(),
            "surrogate": self.inner_surrogate(),
            "updates": self.updates_per_step,
            "baseline": self.baseline,
            "discount": self.discount,
            "gae_lambda": self.gae_lambda,
            "normalize_advantages": self.normalize_advantages,
        }
        return inner.reinforce(self.policy(family), **{**arguments, **changes})
