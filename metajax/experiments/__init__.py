"""Experiments: tables of methods with their statistics, and throughput. Imports no jax."""

from metajax.experiments import grids, learning_curves, rendering, statistics, throughput

__all__ = ["grids", "learning_curves", "rendering", "statistics", "throughput"]
