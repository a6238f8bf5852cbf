"""Flax modules, action distributions, policies and value networks."""

from metajax.networks.activity import unit_activity
from metajax.networks.comparison import Comparison
from metajax.networks.context_values import ContextValues, context_values
from metajax.networks.convolutions import Convolutions, convolved, max_pool
from metajax.networks.cosine import CosineHead, unit_rows
from metajax.networks.distributions import Distribution, categorical, diagonal_gaussian, exploring
from metajax.networks.features import check_network, check_variables
from metajax.networks.full_context import FullContext
from metajax.networks.gated_readout import GatedReadout
from metajax.networks.learned_targets import LearnedTargets, Step
from metajax.networks.masked import MaskedMLP, resize
from metajax.networks.mlp import ACTIVATIONS, MLP
from metajax.networks.over_steps import over_steps
from metajax.networks.policy import Policy, Readout, policy, readout
from metajax.networks.predictor import Predictor, predictor, without_output
from metajax.networks.q_network import QNetwork, q_network
from metajax.networks.recurrent import GRU, LSTM
from metajax.networks.snail import SNAIL
from metajax.networks.transformer import Transformer
from metajax.networks.value_network import ValueNetwork, action_values, state_values

__all__ = [
    "ACTIVATIONS",
    "GRU",
    "LSTM",
    "MLP",
    "SNAIL",
    "Comparison",
    "ContextValues",
    "Convolutions",
    "CosineHead",
    "Distribution",
    "FullContext",
    "GatedReadout",
    "LearnedTargets",
    "MaskedMLP",
    "Policy",
    "Predictor",
    "QNetwork",
    "Readout",
    "Step",
    "Transformer",
    "ValueNetwork",
    "action_values",
    "categorical",
    "check_network",
    "check_variables",
    "context_values",
    "convolved",
    "diagonal_gaussian",
    "exploring",
    "max_pool",
    "over_steps",
    "policy",
    "predictor",
    "q_network",
    "readout",
    "resize",
    "state_values",
    "unit_activity",
    "unit_rows",
    "without_output",
]
