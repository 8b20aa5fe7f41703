"""dlperf: deep-learning performance experiments, tracked in MLflow."""

import os
import sys

# TensorFlow reads it once, when whoever imports it first does; its errors reach Python as exceptions anyway.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# Without AVX-512 VNNI TensorFlow leaves its oneDNN operations off, and its other kernels on a CPU round differently and
# refuse some layers: one set of kernels on every processor, unless the user chooses. Set here, before anything imports
# TensorFlow, which reads it once; workers of a sweep or a scaling job inherit it, and Ray's get it passed.
if sys.platform == "linux" and os.uname().machine == "x86_64":
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

__version__ = "0.2.0"
