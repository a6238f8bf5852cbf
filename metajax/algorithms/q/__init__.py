"""Algorithms whose learner adapts by Q-learning."""
