"""Problem 5: depth against width on the eggholder function."""
