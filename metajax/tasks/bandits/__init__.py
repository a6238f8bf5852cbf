"""Bandits: one state, episodes of one pull."""
