"""Control problems."""
