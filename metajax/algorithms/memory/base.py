"""What RL2, SNAIL and the transformer have in common: memory adapts, PPO or A2C trains.

Options are plain dataclasses and JAX is imported where it is first used, so that
`metajax --help` and a mistake in a config file are answered at once.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

from metajax.algorithms.common.optimizers import MetaOptimized
from metajax.algorithms.common.torsos import WithTorso
from metajax.core.options import API, check_number

if TYPE_CHECKING:
    import flax.linen as nn

    from metajax.core.algorithm import MetaAlgorithm
    from metajax.core.family import TaskFamily
    from metajax.core.types import Learner


@dataclasses.dataclass(frozen=True, kw_only=True)
class MemoryBased(MetaOptimized, WithTorso):
    """Options of every algorithm whose learner adapts in its memory.

    Attributes:
      num_tasks: N, tasks of a meta-batch.
      num_streams: E, trials in each task, each with its own memory.
      num_episodes: of a trial; what the family says if not given.
      memory: a flax module with ``initial_memory``, ``step`` and ``__call__`` as in
        ``metajax.networks.GRU``, in the place of the algorithm's own; or a function of the
        number of steps of a trial that gives one (Python only).
      network: a flax module, observations ``[B, O]`` to features ``[B, F]``, that the
        memory reads in their place (Python only).
      hidden_sizes: units of an MLP in that place; none reads the observation itself.
      head_scale: of the policy's kernel at the start, relative to Glorot's.
      initial_std: initial standard deviation of continuous actions.
      min_std: its floor.
      discount: per step.
      gae_lambda: of the advantage estimate; 1 is Monte-Carlo.
      advantages: "trial" lets rewards of later episodes count for earlier actions,
        "episode" stops at the ends of episodes.
      normalize_advantages: over the batch of trials.
      outer: "ppo" takes several passes of the clipped surrogate over the trials,
        "a2c" one step of the policy gradient.
      clip: of the ratio, for "ppo".
      num_epochs, num_minibatches: passes over the trials, and updates in each, of "ppo".
      value_coefficient: weight of half the squared error of the value.
      entropy_coefficient: weight of the policy's entropy.
      microbatch: tasks that one block of the program works on; all of a device.
      devices: that share the tasks; all that divide their number by default.
    """

    num_tasks: int = 256
    num_streams: int = 1
    num_episodes: int | None = None
    memory: Any = dataclasses.field(default=None, metadata=API)
    hidden_sizes: tuple[int, ...] = ()
    head_scale: float = 0.1
    initial_std: float = 1.0
    min_std: float = 1e-6
    discount: float = 0.99
    gae_lambda: float = 0.95
    advantages: Literal["trial", "episode"] = "trial"
    normalize_advantages: bool = True
    outer: Literal["ppo", "a2c"] = "ppo"
    clip: float = 0.2
    num_epochs: int = 4
    num_minibatches: int = 4
    value_coefficient: float = 0.5
    entropy_coefficient: float = 0.01
    max_grad_norm: float | None = 1.0
    microbatch: int | None = None
    devices: int | None = None

    def __post_init__(self) -> None:
        self.check_meta_optimizer()
        self.check_torso()
        for name in ("num_tasks", "num_streams", "num_epochs", "num_minibatches"):
            check_number(name, getattr(self, name), minimum=1)
        for name in ("num_episodes", "microbatch", "devices"):
            check_number(name, getattr(self, name), minimum=1)
        for name in ("value_coefficient", "entropy_coefficient"):
            check_number(name, getattr(self, name), minimum=0)
        for name in ("head_scale", "initial_std", "min_std", "clip"):
            check_number(name, getattr(self, name), above=0)
        for name in ("discount", "gae_lambda"):
            check_number(name, getattr(self, name), minimum=0, maximum=1)

    def own_memory(self, num_steps: int) -> nn.Module:
        """The memory of trials of ``num_steps`` steps; each algorithm has its own."""
        raise NotImplementedError

    def build(self, family: TaskFamily) -> MetaAlgorithm:
        """The algorithm on a task family.

        Raises:
          OptionError: for sizes that do not fit the family or the devices.
        """
        from metajax import outer
        from metajax.composition import compose
        from metajax.core.layout import Layout
        from metajax.data.continuing import continuing

        problem = continuing(
            family,
            self.learner(family),
            num_streams=self.num_streams,
            num_episodes=self.num_episodes,
        )
        ppo = self.outer == "ppo"
        num_epochs, num_minibatches = (self.num_epochs, self.num_minibatches) if ppo else (1, 1)
        objective = outer.whole_trial(
            problem, self.terms(), normalize_advantages=self.normalize_advantages
        )
        layout = Layout.build(
            self.num_tasks,
            self.microbatch,
            num_devices=self.devices,
            whole=True,
            num_minibatches=num_minibatches,
        )
        rule = outer.epochs(
            objective,
            self.meta_optimizer(num_epochs * num_minibatches),
            layout,
            num_epochs=num_epochs,
            num_minibatches=num_minibatches,
        )
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
