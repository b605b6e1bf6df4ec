"""The instructor's pages: the wall of all seats, a drawer for each, and what the room may see."""
