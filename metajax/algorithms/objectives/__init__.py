"""Algorithms that learn the objective of an agent."""
