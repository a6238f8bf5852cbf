"""Pretraining, then fine-tuning by one of the strategies that practitioners know."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Literal

from metajax.algorithms.gradient.joint import Joint
from metajax.core.options import Count, Fraction, OptionError, Positive, check


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finetune(Joint):
    """Pretraining of one network on all tasks, then fine-tuning in each of them.

    Training is without adaptation; the meta-test adapts by the strategy. Theta are plain
    weights, the same for every strategy and pretraining. What a strategy adds begins anew in
    each trial and changes nothing before the first step. The head of a pretraining other than
    "joint" is left behind, and fine-tuning begins with a head of random weights.

    Source: "Baseline" of Chen et al. (2019), "A closer look at few-shot classification", is
    pretraining "classes" with strategy "head", and "Baseline++" the same with head "cosine".

    Attributes:
      inner_steps: Number of adaptations K in a trial of training; 0 for joint training. Above
        0, theta is trained for what the strategy makes of it, to first order.
      strategy: What moves in a task: "full", all weights; "head", all but the torso;
        "adapters", bottlenecks behind each hidden layer, and the head (Houlsby et al. 2019);
        "low-rank", a low-rank matrix added to each kernel, and all vectors (LoRA, Hu et al. 2022);
        "layer-decay", all weights, at rates that fall from the head downwards; "gradual", layer
        after layer from the head downwards (both Howard and Ruder 2018).
      adapter_size: Units of the bottleneck of "adapters".
      rank: Rank of the matrices of "low-rank".
      layer_decay: Factor between the rates of a layer and the one above it in "layer-decay".
      unfreeze_every: Number of gradient steps after which one more layer moves in "gradual".
      pretraining: What labelled examples are pretrained for: "joint", the loss of all tasks;
        "classes", classification of all classes of the family at once; "contrastive", telling
        pairs of one class, or pairs of sets of examples of one task, from those of others.
      head: Outputs of classes: "linear", or "cosine", angles to a vector for each class.
      temperature: Divisor of the cosines of "contrastive", whose pairs come from all
        ``num_tasks`` tasks, on one device.
      projection_size: Number of features in which "contrastive" compares.
    """

    strategy: Literal["full", "head", "adapters", "low-rank", "layer-decay", "gradual"] = "full"
    adapter_size: Count = 8
    rank: Count = 4
    layer_decay: Fraction = 1 / 2.6
    unfreeze_every: Count = 1
    pretraining: Literal["joint", "classes", "contrastive"] = "joint"
    head: Literal["linear", "cosine"] = "linear"
    temperature: Positive = 0.5
    projection_size: Count = 64

    first_order: ClassVar[bool] = True
    predicting: ClassVar[tuple[str, ...]] = (*Joint.predicting, "pretraining", "head")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.is_mlp and self.strategy in ("adapters", "layer-decay", "gradual"):
            raise OptionError(
                "strategy",
                f'"{self.strategy}" is possible for an MLP alone, without network or conv_filters; '
                'allowed: "full", "head", "low-rank"',
            )

        allowed = 'at least one hidden layer for strategy "adapters"'
        check(
            self.strategy != "adapters" or self.hidden_sizes,
            "hidden_sizes",
            self.hidden_sizes,
            allowed,
        )

        check(
            self.pretraining == "joint" or not self.inner_steps,
            "inner_steps",
            self.inner_steps,
            f'0 for pretraining "{self.pretraining}", which adapts to no task',
        )

    def outer_products(self, each, updates):
        return super().outer_products(each, updates) if self.strategy == "full" else None

    def torso(self):
        from metajax import networks

        if self.strategy != "adapters":
            return super().torso()
        return networks.MLP(self.hidden_sizes, self.activation, self.adapter_size)

    def model(self, family):
        from metajax import networks
        from metajax.core.family import DataSpec

        spec = family.spec
        if self.head == "linear":
            return super().model(family)
        if not isinstance(spec, DataSpec) or not spec.classes:
            problem = f'"cosine" is not possible on {spec.name}, which has no classes'
            raise OptionError("head", f'{problem}; allowed: "linear"')
        return networks.predictor(spec, self.torso(), cosine=True)

    def outer_rule(self, problem, layout):
        from metajax import inner, networks, outer

        if self.pretraining == "joint":
            return super().outer_rule(problem, layout)
        family = problem.family
        model = dataclasses.replace(self, strategy="full").model(family)  # without adapters
        assert isinstance(model, networks.Predictor)
        if self.pretraining == "classes":
            number, cosine = self.num_query or self.num_streams, self.head == "cosine"
            pretext = inner.all_classes(family, model, number, cosine=cosine)
        else:
            layout = self.layout(num_tasks=1, microbatch=1, gradient_microbatch=1, num_devices=1)
            pretext = inner.contrastive(
                family,
                model,
                num_tasks=self.num_tasks,
                set_size=self.num_streams,
                projection_size=self.projection_size,
                temperature=self.temperature,
            )
        rule = self.meta_update(self.objective(pretext.problem), layout)
        return outer.beside(rule, pretext.head)

    def inner_rule(self):
        import optax

        from metajax import inner

        rule = super().inner_rule()
        by_layer = {
            "layer-decay": lambda: inner.layer_decay(self.layer_decay),
            "gradual": lambda: inner.gradual_unfreezing(self.unfreeze_every),
        }.get(self.strategy)
        if by_layer is None:
            return rule
        return lambda theta: optax.chain(rule(theta), by_layer())

    def learner(self, family, **changes):
        from metajax import inner

        if self.strategy == "head":
            changes["partition"] = inner.HEADS
        elif self.strategy == "low-rank":
            start, merge = inner.low_rank(self.rank)
            changes |= {"start": start, "partition": inner.EVERYTHING._replace(merge=merge)}
        elif self.strategy == "adapters":
            init = self.model(family).init
            start, merge = inner.adapters(init)
            changes |= {"start": start, "partition": inner.EVERYTHING._replace(merge=merge)}
            changes["init"] = lambda key: inner.without_adapters(init(key))
        return super().learner(family, **changes)
