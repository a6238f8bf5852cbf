"""Learners of demonstrations, which an oracle that sees the task gives."""
