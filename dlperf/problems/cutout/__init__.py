"""Problem 4: cutout and batch augmentation on a CIFAR ResNet."""
