"""One page that reads like the notebook, made from stored trials alone."""
