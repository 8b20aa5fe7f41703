"""Starts a problem: one trial as one run, several as a sweep of runs below a parent."""
