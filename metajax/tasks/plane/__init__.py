"""Navigation in the plane."""
