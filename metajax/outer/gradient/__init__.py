"""Meta-gradient estimators and the objectives they differentiate."""
