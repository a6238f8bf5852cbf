"""A causal transformer with a cache of fixed size."""

import flax.linen as nn
import jax

from metajax.core.options import AtLeast, check, check_number
from metajax.networks.attention import CausalAttention, KeysAndValues
from metajax.networks.cached_layers import CachedLayers

_POSITIONS = ("rotary", "relative")


class TransformerBlock(nn.Module):
    """A pre-norm transformer block: residual attention, then a residual perceptron.

    ``h = x + A attention(norm(x))``, ``y = h + mlp(norm(h))``.

    Args:
      attention: Attention of the block.
      size: Input and output features, D.
      mlp_size: Hidden units of the perceptron.
      output_variance: Initial variance of the two output kernels, relative to LeCun-normal.
    """

    attention: CausalAttention
    size: int
    mlp_size: int
    output_variance: float = 1.0

    def setup(self) -> None:
        initial = nn.initializers.variance_scaling(
            self.output_variance, "fan_in", "truncated_normal"
        )
        self.attention_norm, self.mlp_norm = nn.LayerNorm(), nn.LayerNorm()
        self.attention_output = nn.Dense(self.size, kernel_init=initial)
        self.mlp_hidden = nn.Dense(self.mlp_size)
        self.mlp_output = nn.Dense(self.size, kernel_init=initial)

    def initial_memory(self) -> KeysAndValues:
        """The empty cache of one stream."""
        return self.attention.initial_memory()

    def step(
        self, memory: KeysAndValues, time: jax.Array, x: jax.Array
    ) -> tuple[jax.Array, KeysAndValues]:
        """One step of one stream: ``x [D]`` to ``[D]`` and the next cache."""
        read, memory = self.attention.step(memory, time, self.attention_norm(x))
        return self._add(x, read), memory

    def __call__(self, x: jax.Array) -> jax.Array:
        """Whole trials of B streams, ``[T, B, D]`` to ``[T, B, D]``."""
        return self._add(x, self.attention(self.attention_norm(x)))

    def _add(self, x: jax.Array, read: jax.Array) -> jax.Array:
        x = x + self.attention_output(read)
        return x + self.mlp_output(nn.gelu(self.mlp_hidden(self.mlp_norm(x))))


class Transformer(CachedLayers):
    """A causal transformer with a sliding window of ``context`` steps per layer.

    A linear layer, ``num_layers`` blocks and a layer normalisation. The cache of a layer is
    a ring buffer of ``context`` keys and values. ``step`` and ``__call__`` attend within the
    same window, so a trial may be longer than ``context``; older information then reaches
    the output only through lower layers.

    Source: Vaswani et al. (2017), "Attention is all you need"; as a policy over whole trials,
    Melo (2022), "Transformers are meta-reinforcement learners". Deviations: normalisation
    precedes attention and perceptron (Xiong et al. 2020); the variance of the residual
    output kernels is divided by their number (Radford et al. 2019, section 2.3), which
    makes T-Fixup unnecessary; and positions are rotary or relative (see
    ``CausalAttention``), so that the ring buffer needs no shifting.

    Args:
      context: Window of a layer in steps, the current one included; usually the length of a trial.
      num_layers: Number of blocks.
      num_heads: Heads per block; must divide ``size``, or ``size / 2`` with rotary positions.
      size: Features, D.
      mlp_size: Hidden units of each perceptron.
      positions: ``"rotary"`` or ``"relative"``.
      max_distance: First distance that shares one bias with all larger ones, for ``"relative"``.

    Raises:
      OptionError: For a size below 1, unknown positions, or a ``size`` that the heads do
        not divide.
    """

    context: int
    num_layers: int = 2
    num_heads: int = 4
    size: int = 64
    mlp_size: int = 256
    positions: str = "rotary"
    max_distance: int = 128

    def __post_init__(self) -> None:
        for name in ("context", "num_layers", "num_heads", "size", "mlp_size", "max_distance"):
            check_number(name, getattr(self, name), AtLeast(1))
        check(self.positions in _POSITIONS, "positions", self.positions, " or ".join(_POSITIONS))
        # Rotary positions rotate pairs of features of a head.
        unit = self.num_heads * (2 if self.positions == "rotary" else 1)
        why = f"a multiple of {unit} ({self.num_heads} heads, {self.positions} positions)"
        check(self.size % unit == 0, "size", self.size, why)
        super().__post_init__()

    def setup(self) -> None:
        self.embedding = nn.Dense(self.size)
        self.layers = self._unbound_layers()
        self.norm = nn.LayerNorm()

    def _unbound_layers(self) -> list[TransformerBlock]:
        head_size = self.size // self.num_heads
        attention = CausalAttention(
            self.num_heads,
            head_size,
            head_size,
            self.context,
            self.positions,
            self.max_distance,
            parent=None,
        )
        return [
            TransformerBlock(
                attention.clone(), self.size, self.mlp_size, 0.5 / self.num_layers, parent=None
            )
            for _ in range(self.num_layers)
        ]

    def _read(self, features: jax.Array) -> jax.Array:
        return self.norm(features)
