"""Few-shot regression of sine waves."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, NamedTuple

from metajax.core.options import Options

if TYPE_CHECKING:
    import jax

    from metajax.core.family import DataFamily

MIN_AMPLITUDE, MAX_AMPLITUDE = 0.1, 5.0
MAX_INPUT = 5.0


class Wave(NamedTuple):
    """The function ``amplitude * sin(x - phase)``, with two scalars."""

    amplitude: jax.Array
    phase: jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sinusoid(Options):
    """Sinusoid (Finn et al. 2017): few-shot regression of sine waves.

    Amplitudes are uniform in [0.1, 5], phases in [0, pi] and inputs in [-5, 5].

    Source: Finn et al. (2017), "Model-agnostic meta-learning for fast adaptation of deep
    networks", section 5.1 and its published code.
    """

    def build(self) -> DataFamily:
        """The family; tasks are ``Wave(amplitude, phase)``."""
        import jax
        import jax.numpy as jnp

        from metajax.core.family import DataFamily, DataSpec, Examples

        def sample(key):
            key_amplitude, key_phase = jax.random.split(key)
            return Wave(
                jax.random.uniform(key_amplitude, minval=MIN_AMPLITUDE, maxval=MAX_AMPLITUDE),
                jax.random.uniform(key_phase, maxval=jnp.pi),
            )

        def draw(key, task, num_examples):
            shape = num_examples, 1
            inputs = jax.random.uniform(key, shape, minval=-MAX_INPUT, maxval=MAX_INPUT)
            return Examples(inputs, task.amplitude * jnp.sin(inputs - task.phase))

        return DataFamily(DataSpec("sinusoid", (1,), 1), sample, draw)
