"""Flax modules, action distributions and the policies made of them."""

from metajax.networks.distributions import Distribution, categorical, diagonal_gaussian
from metajax.networks.mlp import ACTIVATIONS, MLP
from metajax.networks.policy import Policy, policy

__all__ = [
    "ACTIVATIONS",
    "MLP",
    "Distribution",
    "Policy",
    "categorical",
    "diagonal_gaussian",
    "policy",
]
