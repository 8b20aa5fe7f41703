"""Starts an entry point on another host: `python entrypoints/remote.py --host ssh://gpuhost --entry_point cutout`."""

import sys
from pathlib import Path

# From a clone, in an environment that holds conda.yaml's packages and not dlperf itself, as the entry points.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dlperf.cli import remote

if __name__ == "__main__":
    sys.exit(remote())
