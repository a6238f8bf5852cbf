"""Random least-squares problems, for learned optimisers."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal, NamedTuple

from metajax.core.options import Count, Options, check

if TYPE_CHECKING:
    import jax

    from metajax.core.family import DataFamily


class Quadratic(NamedTuple):
    """The loss ``|W theta - y|^2 / size`` of a linear model without bias.

    Attributes:
      inputs: W, ``[size, size]``; each row is one example.
      targets: y, ``[size, 1]``.
    """

    inputs: jax.Array
    targets: jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quadratics(Options):
    """Random quadratics (Andrychowicz et al. 2016): least-squares problems for optimisers.

    The examples of a task are the rows of W, drawn without replacement, so that ``size``
    examples give the whole loss.

    Source: Andrychowicz et al. (2016), "Learning to learn by gradient descent by gradient
    descent", section 3.1, and its published code, which has uniform entries. Deviations: the
    mean over rows instead of the sum; optimisees start from the weights of any linear model
    instead of a standard deviation of 0.01.

    Attributes:
      size: Number of rows, and of coordinates of theta.
      entries: Distribution of all entries of W and y: "normal", standard normal; or "uniform"
        in [0, 1], worse conditioned, as W then has a mean of rank one.
    """

    size: Count = 10
    entries: Literal["normal", "uniform"] = "normal"

    def build(self) -> DataFamily:
        """The family; tasks are ``Quadratic(inputs, targets)``."""
        import jax

        from metajax.core.family import DataFamily, DataSpec, Examples

        size = self.size
        entries = {"normal": jax.random.normal, "uniform": jax.random.uniform}[self.entries]

        def sample(key):
            key_inputs, key_targets = jax.random.split(key)
            return Quadratic(entries(key_inputs, (size, size)), entries(key_targets, (size, 1)))

        def draw(key, task, num_examples):
            allowed = f"at most {size}, the rows of quadratics"
            check(num_examples <= size, "num_streams", num_examples, allowed)
            rows = jax.random.choice(key, size, (num_examples,), replace=False)
            return Examples(task.inputs[rows], task.targets[rows])

        return DataFamily(DataSpec("quadratics", (size,), 1), sample, draw)
