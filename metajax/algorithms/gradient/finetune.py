"""Joint pretraining, then fine-tuning by one of the strategies that practitioners know."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Literal

from metajax.algorithms.gradient.joint import Joint
from metajax.core.options import Count, Fraction, OptionError, check


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finetune(Joint):
    """Joint training of one network for all tasks, then fine-tuning in each of them.

    Training is that of ``joint``, without adaptation; the meta-test adapts by the strategy.
    Theta are plain weights, the same for every strategy. What a strategy adds begins anew in
    each trial and changes nothing before the first step.

    Attributes:
      inner_steps: Number of adaptations K in a trial of training; 0 for joint training. Above
        0, theta is trained for what the strategy makes of it, to first order.
      strategy: What moves in a task: "full", all weights; "head", all but the torso;
        "adapters", bottlenecks behind each hidden layer, and the head (Houlsby et al. 2019);
        "low-rank", a low-rank matrix added to each kernel (LoRA, Hu et al. 2022);
        "layer-decay", all weights, at rates that fall from the head downwards; "gradual", layer
        after layer from the head downwards (both Howard and Ruder 2018).
      adapter_size: Units of the bottleneck of "adapters".
      rank: Rank of the matrices of "low-rank".
      layer_decay: Factor between the rates of a layer and the one above it in "layer-decay".
      unfreeze_every: Number of gradient steps after which one more layer moves in "gradual".
    """

    strategy: Literal["full", "head", "adapters", "low-rank", "layer-decay", "gradual"] = "full"
    adapter_size: Count = 8
    rank: Count = 4
    layer_decay: Fraction = 1 / 2.6
    unfreeze_every: Count = 1

    first_order: ClassVar[bool] = True

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

    def outer_products(self, each, updates):
        return super().outer_products(each, updates) if self.strategy == "full" else None

    def torso(self):
        from metajax import networks

        if self.strategy != "adapters":
            return super().torso()
        return networks.MLP(self.hidden_sizes, self.activation, self.adapter_size)

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
