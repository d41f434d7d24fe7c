"""``python -m benchmarks.soak --seconds 1800``: mixed traffic, changes and failures; 0 where all has held."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from benchmarks.soak.run import Soak


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120, help="how long (%(default)s)")
    parser.add_argument("--rate", type=float, default=60, help="turns of clients a second, at most (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="what is decided by chance (%(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as directory:
        soak = Soak(Path(directory), options.rate, options.seed)
        asyncio.run(soak.run(options.seconds))
        print(soak.report())
        faults = soak.faults()
    for fault in faults:
        print(f"FAULT: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
