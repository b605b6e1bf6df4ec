"""A chat page with Flask."""
