"""A causal transformer as a memory, with a cache of fixed size."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from metajax.core.options import AtLeast, check, check_number
from metajax.networks.attention import CausalAttention, KeysAndValues, Memory

_POSITIONS = ("rotary", "relative")


class TransformerBlock(nn.Module):
    """Attention and a multilayer perceptron, each added to what it reads.

    ``h = x + A attention(norm(x))``, ``y = h + mlp(norm(h))``.

    Args:
      attention: what reads the past.
      size: D, of what goes in and comes out.
      mlp_size: hidden units of the perceptron.
      output_variance: initial variance of the kernels that add to the sum, relative
        to LeCun's.
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


class Transformer(nn.Module):
    """A transformer, every layer of which sees the last ``context`` steps.

    A linear layer, ``num_layers`` blocks and a normalisation. The cache is a ring
    buffer of ``context`` keys and values a layer; both forms attend within this
    window, so trials may be longer, and information from before it comes through
    the layers only.

    Source: Vaswani et al. (2017), "Attention is all you need"; as a policy over whole
    trials Melo (2022), "Transformers are meta-reinforcement learners". Deviations:
    normalisation comes before attention and perceptron (Xiong et al. 2020), the
    variance of the kernels that add to the sum is divided by their number (Radford et
    al. 2019, section 2.3), which makes T-Fixup unnecessary, and positions are rotary
    or relative (see ``CausalAttention``), so that a ring buffer needs no shifting.

    Args:
      context: steps that a layer sees, the present one included; usually those of a
        trial.
      num_layers: of attention and perceptron.
      num_heads: of the attention; divides ``size``, with rotary positions half of it.
      size: D, of the features.
      mlp_size: hidden units of the perceptrons.
      positions: "rotary" or "relative".
      max_distance: distances from here on share one bias, for "relative".
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
        # Rotary positions turn pairs of features of a head.
        unit = self.num_heads * (2 if self.positions == "rotary" else 1)
        why = f"a multiple of {unit} ({self.num_heads} heads, {self.positions} positions)"
        check(self.size % unit == 0, "size", self.size, why)
        super().__post_init__()

    def setup(self) -> None:
        self.embedding = nn.Dense(self.size)
        self.layers = self._unbound_layers()
        self.norm = nn.LayerNorm()

    def initial_memory(self) -> Memory:
        """The memory of one stream at the start of a trial."""
        caches = tuple(layer.initial_memory() for layer in self._unbound_layers())
        return Memory(jnp.zeros((), jnp.int32), caches)

    def step(self, memory: Memory, x: jax.Array) -> tuple[jax.Array, Memory]:
        """One step of one stream: ``x [F]`` to ``[D]`` and the next memory."""
        features, caches = self.embedding(x), []
        for layer, cache in zip(self.layers, memory.layers, strict=True):
            features, cache = layer.step(cache, memory.time, features)
            caches.append(cache)
        return self.norm(features), Memory(memory.time + 1, tuple(caches))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Whole trials of B streams, ``[T, B, F]`` to ``[T, B, D]``."""
        features = self.embedding(x)
        for layer in self.layers:
            features = layer(features)
        return self.norm(features)

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
