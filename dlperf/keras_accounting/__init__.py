"""Per-layer tables of any Keras model: what Keras's summary leaves out (keras-team/keras#18378)."""
