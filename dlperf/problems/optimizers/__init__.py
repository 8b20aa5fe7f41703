"""Problem 1: adaptive learning rates on a multilayer perceptron, with and without dropout."""
