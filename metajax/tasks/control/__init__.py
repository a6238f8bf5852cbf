"""Classic control and arcade problems."""
