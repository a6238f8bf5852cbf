"""Runs: training into a directory, with metrics, checkpoints, exact resume and signals."""
