"""Algorithms that meta-learn the settings of a learner."""
