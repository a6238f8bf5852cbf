"""What RL2, SNAIL and the transformer have in common: memory adapts, PPO or A2C trains."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

from metajax.algorithms.common.layouts import InBlocks, InPasses
from metajax.algorithms.common.torsos import WithTorso
from metajax.core.options import API, Count, Fraction, NonNegative, Positive

if TYPE_CHECKING:
    import flax.linen as nn

    from metajax.core.algorithm import MetaAlgorithm
    from metajax.core.family import TaskFamily
    from metajax.core.types import Learner


@dataclasses.dataclass(frozen=True, kw_only=True)
class MemoryBased(InPasses, WithTorso, InBlocks):
    """Options of every algorithm whose learner adapts in its memory.

    Attributes:
      num_streams: Number of trials E in each task, each with its own memory.
      num_episodes: Number of episodes in a trial. Default: the family's.
      memory: Flax module with ``initial_memory``, ``step`` and ``__call__`` as in
        ``metajax.networks.GRU``, used instead of the algorithm's own memory; or a function from
        the number of steps of a trial to such a module (Python only).
      network: Flax module from observations ``[B, O]`` to features ``[B, F]``, which the memory
        reads instead of the observations (Python only).
      hidden_sizes: Units of each layer of an MLP between observations and memory. Empty: the
        memory reads the observations themselves.
      head_scale: Scale of the policy's kernel at initialisation, relative to Glorot's.
      initial_std: Standard deviation of continuous actions at initialisation.
      min_std: Lower limit of the standard deviation of continuous actions.
      discount: Discount per step.
      gae_lambda: Lambda of generalised advantage estimation; 1 is Monte Carlo.
      advantages: Reach of the advantages: "trial", where rewards of later episodes count for
        earlier actions, or "episode", where they do not.
      normalize_advantages: Whether advantages are normalised over the batch of trials.
      outer: Meta-update: "ppo", several passes of the clipped surrogate over the trials, or
        "a2c", one step of the policy gradient.
      clip: Clipping range of the ratio in "ppo".
      value_coefficient: Weight of half the squared error of the value.
      entropy_coefficient: Weight of the policy's entropy.
    """

    num_tasks: Count = 256
    num_streams: Count = 1
    num_episodes: Count | None = None
    memory: Any = dataclasses.field(default=None, metadata=API)
    hidden_sizes: tuple[Count, ...] = ()
    head_scale: Positive = 0.1
    initial_std: Positive = 1.0
    min_std: Positive = 1e-6
    discount: Fraction = 0.99
    gae_lambda: Fraction = 0.95
    advantages: Literal["trial", "episode"] = "trial"
    normalize_advantages: bool = True
    outer: Literal["ppo", "a2c"] = "ppo"
    clip: Positive = 0.2
    value_coefficient: NonNegative = 0.5
    entropy_coefficient: NonNegative = 0.01
    max_grad_norm: Positive | None = 1.0

    def own_memory(self, num_steps: int) -> nn.Module:
        """The memory of trials of ``num_steps`` steps; each algorithm has its own."""
        raise NotImplementedError

    @property
    def minibatches(self) -> int:
        return self.num_minibatches if self.outer == "ppo" else 1

    def build(self, family: TaskFamily) -> MetaAlgorithm:
        """The algorithm on a task family; raises OptionError for sizes that do not fit."""
        from metajax import outer
        from metajax.composition import compose
        from metajax.data.continuing import continuing

        sizes: Any = {"num_streams": self.num_streams, "num_episodes": self.num_episodes}
        problem = continuing(family, self.learner(family), **sizes)
        objective = outer.whole_trial(
            problem, self.terms(), normalize_advantages=self.normalize_advantages
        )
        rule = self.passes(objective, self.layout(whole=True), once=self.outer == "a2c")
        return compose(problem, rule, microbatch=self.microbatch)

    def learner(self, family: TaskFamily) -> Learner:
        """The memory of these options, its policy and its value."""
        from metajax import inner

        spec = family.spec
        num_steps = (self.num_episodes or spec.episodes_per_trial) * spec.episode_length
        memory: Any = self.own_memory if self.memory is None else self.memory
        if _gives_one(memory):
            memory = memory(num_steps)
        return inner.memory_learner(
            spec,
            memory,
            num_steps=num_steps,
            network=self.torso(),
            head_scale=self.head_scale,
            initial_std=self.initial_std,
            min_std=self.min_std,
            discount=self.discount,
            gae_lambda=self.gae_lambda,
            advantages=self.advantages,
        )

    def terms(self) -> dict[str, Any]:
        """Terms of the objective and their weights, by name; auxiliary losses are added here."""
        from metajax import losses

        policy = losses.clipped_loss(self.clip) if self.outer == "ppo" else losses.score_loss
        return {
            "policy_loss": (1.0, losses.term(policy)),
            "value_loss": (self.value_coefficient, losses.term(losses.value_error)),
            "entropy": (-1.0 * self.entropy_coefficient, losses.term(losses.entropy)),
        }


def _gives_one(memory: Any) -> bool:
    """Whether it is a function that gives a memory; a class of memories is a mistake."""
    import flax.linen as nn

    return callable(memory) and not isinstance(memory, (type, nn.Module))
