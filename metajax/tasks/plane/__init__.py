"""Navigation of a point in the plane."""
