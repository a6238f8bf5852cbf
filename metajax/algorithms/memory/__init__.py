"""Algorithms whose learner adapts in its memory."""
