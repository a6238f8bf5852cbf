"""Learned optimisers."""
