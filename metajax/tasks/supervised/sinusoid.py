"""Few-shot regression of sine waves."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, NamedTuple

from metajax.core.options import Positive, check
from metajax.tasks.revealed import Revealable

if TYPE_CHECKING:
    import jax

    from metajax.core.family import DataFamily

MIN_AMPLITUDE, MAX_AMPLITUDE = 0.1, 5.0
MAX_INPUT = 5.0


class Wave(NamedTuple):
    """The function ``amplitude * sin(frequency * x - phase)``, with three scalars."""

    amplitude: jax.Array
    phase: jax.Array
    frequency: jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sinusoid(Revealable):
    """Sinusoid (Finn et al. 2017): few-shot regression of sine waves.

    Amplitudes are uniform in [0.1, 5], phases in [0, pi] and inputs in [-5, 5].

    Sources: Finn et al. (2017), "Model-agnostic meta-learning for fast adaptation of deep
    networks", section 5.1 and its published code; Li et al. (2017), "Meta-SGD", section 4.1, with
    frequencies uniform in [0.8, 1.2].

    Attributes:
      frequencies: Lowest and highest frequency.
    """

    frequencies: tuple[Positive, Positive] = (1.0, 1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        low, high = self.frequencies
        check(low <= high, "frequencies", self.frequencies, "the lowest, then the highest")

    def build(self) -> DataFamily:
        """The family; tasks are ``Wave(amplitude, phase, frequency)``."""
        import jax
        import jax.numpy as jnp

        from metajax.core.family import DataFamily, DataSpec, Examples

        low, high = self.frequencies

        def sample(key):
            key_amplitude, key_phase = jax.random.split(key)
            share = jax.random.uniform(jax.random.fold_in(key, 2))
            return Wave(
                jax.random.uniform(key_amplitude, minval=MIN_AMPLITUDE, maxval=MAX_AMPLITUDE),
                jax.random.uniform(key_phase, maxval=jnp.pi),
                low + (high - low) * share,
            )

        def draw(key, task, num_examples):
            shape = num_examples, 1
            inputs = jax.random.uniform(key, shape, minval=-MAX_INPUT, maxval=MAX_INPUT)
            return Examples(inputs, task.amplitude * jnp.sin(task.frequency * inputs - task.phase))

        return self.shown(DataFamily(DataSpec("sinusoid", (1,), 1), sample, draw))
