"""Options that several kinds of algorithms share."""
