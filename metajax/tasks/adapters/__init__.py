"""Environments of other libraries as task families."""
