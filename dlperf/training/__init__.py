"""Training: the loop, the compiled epochs it drives, their objectives, and the state on disk."""
