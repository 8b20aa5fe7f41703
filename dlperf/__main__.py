"""`python -m dlperf`: the command `dlperf`."""

import sys

from dlperf.cli import main

if __name__ == "__main__":
    sys.exit(main())
