"""Learners that adapt by temporal differences."""
