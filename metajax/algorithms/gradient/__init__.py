"""Algorithms whose learner adapts by policy-gradient steps."""
