"""dlperf: deep-learning performance experiments, tracked in MLflow."""

import os

# TensorFlow reads it once, when whoever imports it first does; its errors reach Python as exceptions anyway.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

__version__ = "0.2.0"
