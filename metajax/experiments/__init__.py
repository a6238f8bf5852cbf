"""Experiments: tables of methods with their statistics, and throughput. Imports no jax."""

from metajax.experiments import learning_curves, rendering, statistics, throughput

__all__ = ["learning_curves", "rendering", "statistics", "throughput"]
