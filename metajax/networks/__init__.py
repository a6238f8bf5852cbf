"""Flax modules, action distributions and the policies made of them."""

from metajax.networks.distributions import Distribution, categorical, diagonal_gaussian
from metajax.networks.masked import MaskedMLP, resize
from metajax.networks.mlp import ACTIVATIONS, MLP
from metajax.networks.policy import Policy, policy
from metajax.networks.q_network import QNetwork, q_network
from metajax.networks.recurrent import GRU, LSTM
from metajax.networks.snail import SNAIL
from metajax.networks.transformer import Transformer

__all__ = [
    "ACTIVATIONS",
    "GRU",
    "LSTM",
    "MLP",
    "SNAIL",
    "Distribution",
    "MaskedMLP",
    "Policy",
    "QNetwork",
    "Transformer",
    "categorical",
    "diagonal_gaussian",
    "policy",
    "q_network",
    "resize",
]
