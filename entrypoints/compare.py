"""Entry point `compare`: tables and verdicts of stored trials, `python entrypoints/compare.py --problem cutout`."""

import sys
from pathlib import Path

# MLflow runs this from a clone, in an environment that holds conda.yaml's packages and not dlperf itself.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dlperf.cli import entry_point

if __name__ == "__main__":
    sys.exit(entry_point("compare"))
