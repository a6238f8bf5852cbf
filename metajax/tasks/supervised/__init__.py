"""Families of labelled examples."""
