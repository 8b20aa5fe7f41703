"""What `benchmarks.peers` measures, each way a program of its own: `python -m benchmarks.peer_ways.pytorch WORK ...`.

The programs of PyTorch and JAX run in an environment of their own (`make peers`), which has no dlperf; nothing here
imports it but `ours` and `fit`.
"""
