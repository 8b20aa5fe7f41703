"""Problem 3: parameters, activations and multiplications of CNN architectures."""
