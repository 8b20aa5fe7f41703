"""What the notebook, its assignment and the papers claim, as data, and the verdicts of stored trials on it."""
