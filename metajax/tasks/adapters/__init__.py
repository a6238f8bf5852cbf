"""Adapters from environments of other libraries to task families."""
