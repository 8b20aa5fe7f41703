"""Per-layer tables of any Keras model: what Keras's own summary leaves out (keras-team/keras#18378)."""
