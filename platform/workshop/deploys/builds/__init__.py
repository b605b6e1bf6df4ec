"""The confined builder: a Dockerfile carried out step by step, each within its bounds."""
