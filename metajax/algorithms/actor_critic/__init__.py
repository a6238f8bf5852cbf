"""Actor-critic from scratch."""
