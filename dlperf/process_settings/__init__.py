"""What is set in a process before TensorFlow is loaded, as it cannot be changed afterwards."""
