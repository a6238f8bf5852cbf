"""Learners of few labelled examples that take no gradient steps."""
