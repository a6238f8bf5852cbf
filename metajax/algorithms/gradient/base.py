"""What MAML, FOMAML, Reptile and joint training have in common."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from metajax.algorithms.common.layouts import InGradientBlocks
from metajax.algorithms.common.optimizers import MetaOptimized
from metajax.algorithms.common.torsos import WithTorso
from metajax.core.options import API, AtLeast, Count, Fraction, NonNegative, OptionError, Positive

if TYPE_CHECKING:
    from metajax.core.algorithm import MetaAlgorithm, Outer
    from metajax.core.arithmetic import Arithmetic, LayerProducts
    from metajax.core.family import DataSpec, Family, Spec
    from metajax.core.layout import Layout
    from metajax.core.problem import Problem
    from metajax.core.types import Learner
    from metajax.inner.descent import Rule
    from metajax.networks import Policy, Predictor


@dataclasses.dataclass(frozen=True, kw_only=True)
class GradientBased(MetaOptimized, WithTorso, InGradientBlocks):
    """Options of every algorithm that adapts by gradient steps.

    In an environment these are policy-gradient steps on episodes; on labelled examples they
    descend the mean squared error, or the cross-entropy of classes, on a support set, and the
    adapted weights are judged on a query set.

    Attributes:
      num_streams: Number of episodes E collected in a task before each adaptation, or of
        labelled examples in its support set (ways times shots for classes).
      num_query: Number of labelled examples in the query set. Default: ``num_streams``.
      horizon: Length T of an episode in steps. Default: the family's episode length.
      inner_steps: Number of adaptations K in a trial, each on fresh episodes.
      inner_lr: Step size of the adaptation. A list gives one for each gradient step of a trial;
        its last entry holds for all further steps.
      inner_clip: Largest global norm of an inner gradient; "none" for no clipping.
      inner: Inner rule used instead of SGD with ``inner_lr``: an optax transformation, or a
        function ``theta -> optax transformation`` (Python only).
      updates_per_step: Number of gradient steps on each chunk.
      network: Flax module from observations ``[B, O]`` to features ``[B, F]``, used instead of
        the MLP. A value network is a second module of the same kind (Python only).
      head_scale: Scale of the policy's last kernel at initialisation, relative to Glorot's.
      initial_std: Standard deviation of continuous actions at initialisation.
      min_std: Lower limit of the standard deviation of continuous actions.
      baseline: Baseline of the advantages: "linear", a linear fit to each chunk; "value", a
        value network that adapts with the policy; or "none".
      discount: Discount per step.
      gae_lambda: Lambda of generalised advantage estimation; 1 is Monte Carlo.
      normalize_advantages: Whether advantages are normalised within each task.
    """

    labelled: ClassVar[bool] = True

    num_tasks: Count = 40
    num_streams: Count = 20
    num_query: Count | None = None
    horizon: Count | None = None
    inner_steps: Annotated[int, AtLeast(0)] = 1
    inner_lr: NonNegative | tuple[NonNegative, ...] = 0.1
    inner_clip: Positive | None = None
    inner: Any = dataclasses.field(default=None, metadata=API)
    updates_per_step: Count = 1
    hidden_sizes: tuple[Count, ...] = (100, 100)
    head_scale: Positive = 1.0
    initial_std: Positive = 1.0
    min_std: Positive = 1e-6
    baseline: Literal["linear", "value", "none"] = "linear"
    discount: Fraction = 0.99
    gae_lambda: Fraction = 1.0
    normalize_advantages: bool = True

    acting: ClassVar[tuple[str, ...]] = (
        *("horizon", "head_scale", "initial_std", "min_std", "baseline", "discount"),
        *("gae_lambda", "normalize_advantages"),
    )
    """Options without a meaning for labelled examples."""
    predicting: ClassVar[tuple[str, ...]] = ("num_query",)
    """Options without a meaning in an environment."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.inner is not None and (
            hasattr(self.inner_lr, "dtype") or self.inner_lr != type(self).inner_lr
        ):
            problem = "is not possible beside inner, which has a rate of its own; leave one out"
            raise OptionError("inner_lr", problem)
        if isinstance(self.inner_lr, tuple) and not self.inner_lr:
            raise OptionError("inner_lr", "is empty; allowed: a number, or one for each step")

    def build(self, family: Family) -> MetaAlgorithm:
        """The algorithm on a family of environments or of labelled examples.

        Raises:
          OptionError: for sizes that do not fit the family or the devices, and options without
            a meaning for the family.
        """
        from metajax.composition import compose

        problem = self.problem(family)
        rule = self.outer_rule(problem, self.layout())
        return compose(problem, rule, microbatch=self.microbatch)

    def problem(self, family: Family) -> Problem:
        """The learner of these options in its trials."""
        from metajax.core.family import DataFamily
        from metajax.data.few_shot import few_shot
        from metajax.data.fresh import fresh

        examples = isinstance(family, DataFamily)
        for name in self.acting if examples else self.predicting:
            self._check_default(name, family)
        learner = self.learner(family)
        sizes: Any = {"num_adaptations": self.inner_steps, "num_streams": self.num_streams}
        if examples:
            return few_shot(family, learner, num_query=self.num_query or self.num_streams, **sizes)
        return fresh(family, learner, horizon=self.horizon, **sizes)

    def arithmetic(self, spec: Spec | DataSpec) -> Arithmetic | None:
        """Matrix products of one meta-iteration on a family of this spec.

        With S = N E T samples in a chunk, K adaptations of U updates, and the counts of
        ``LayerProducts`` for each sample: rollouts ``S (K + 1) forward``, adaptation ``S K U``
        times ``inner_products``, meta-gradient ``S`` times ``outer_products``. None where they
        are not counted: convolutions, a network or inner rule in Python, a value network,
        examples.
        """
        from metajax.core.arithmetic import Arithmetic, layer_products, sizes
        from metajax.core.family import Spec

        if not isinstance(spec, Spec):
            return None
        inputs, outputs = sizes(spec)
        each = layer_products([inputs, *self.hidden_sizes, outputs])
        updates = self.inner_steps * self.updates_per_step
        outer = self.outer_products(each, updates)
        own = not self.is_mlp or self.inner is not None
        if outer is None or own or self.baseline == "value":
            return None
        samples = self.num_tasks * self.num_streams * (self.horizon or spec.episode_length)
        return Arithmetic(
            rollouts=float(samples * (self.inner_steps + 1) * each.forward),
            adaptation=float(samples * updates * self.inner_products(each)),
            meta_gradient=float(samples * outer),
        )

    def inner_products(self, each: LayerProducts) -> float:
        """Operations a sample of one inner gradient."""
        return each.gradient

    def outer_products(self, each: LayerProducts, updates: int) -> float | None:
        """Operations a sample that differentiating trials of ``updates`` adds to them."""
        raise NotImplementedError

    def outer_rule(self, problem: Problem, layout: Layout) -> Outer:
        """How the initial weights improve; each algorithm has its own."""
        raise NotImplementedError

    def inner_surrogate(self) -> str:
        """Name of the loss that the adaptation descends."""
        return "score"

    def model(self, family: Family) -> Policy | Predictor:
        """The network to adapt: a policy, or a predictor for labelled examples."""
        from metajax import networks
        from metajax.core.family import DataFamily

        if isinstance(family, DataFamily):
            return networks.predictor(family.spec, self.torso())
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

        given = optax.sgd(inner.step_sizes(self.inner_lr)) if self.inner is None else self.inner
        return self.clipped(inner.as_rule(given))

    def clipped(self, rule: Rule) -> Rule:
        """The rule behind the clipping of ``inner_clip``."""
        import optax

        from metajax import inner

        if self.inner_clip is None:
            return rule
        clip = inner.clip_by_global_norm(self.inner_clip)
        return lambda theta: optax.chain(clip, rule(theta))

    def learner(self, family: Any, **changes: Any) -> Learner:
        """The network of these options, adapted by gradient steps.

        Args:
          family: The environments or labelled examples.
          **changes: Other arguments of ``metajax.inner.reinforce`` and
            ``metajax.inner.supervised``.
        """
        from metajax import inner, networks
        from metajax.core.family import DataFamily

        model = self.model(family)
        arguments = {"inner": self.inner_rule(), "updates": self.updates_per_step, **changes}
        if isinstance(model, networks.Predictor):
            assert isinstance(family, DataFamily)
            return inner.supervised(family.spec, model, **arguments)
        return inner.reinforce(
            model,
            surrogate=self.inner_surrogate(),
            baseline=self.baseline,
            discount=self.discount,
            gae_lambda=self.gae_lambda,
            normalize_advantages=self.normalize_advantages,
            **arguments,
        )

    def _check_default(self, name: str, family: Family) -> None:
        """Raises OptionError for an option that is set and has no meaning for the family."""
        given, default = getattr(self, name), type(self).__dataclass_fields__[name].default
        if hasattr(given, "dtype") or given != default:
            kind = "which holds labelled examples" if name in self.acting else "an environment"
            raise OptionError(name, f"has no meaning on {family.spec.name}, {kind}; leave it out")
