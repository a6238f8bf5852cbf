"""The contracts, and the loops every method shares."""
