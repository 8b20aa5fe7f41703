"""An entry point in a container on another host: checks, image, tunnel, container, logs; one concept per module."""
