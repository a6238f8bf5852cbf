"""Classical methods, with no meta-training."""
