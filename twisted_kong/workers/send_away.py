"""``python -m twisted_kong.workers.send_away PREFIX``: ends the workers that a gateway has left behind there.

For ``ExecStopPost`` of systemd. Where its ``SERVICE_RESULT`` says that the gateway failed, and so is about to start
again, they go on and wait for that.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from twisted_kong.errors import StartupError
from twisted_kong.prefix import PrefixLock
from twisted_kong.workers.orphans import find_orphans

STOPPED = ("success", "timeout")
"""Results of a service that was to be stopped: it has, or did not do so in time."""


def main(prefix: Path, environ: Mapping[str, str]) -> int:
    """Send them away; 1 where a gateway is at work there, whose workers they are."""
    if environ.get("SERVICE_RESULT", "success") not in STOPPED or not prefix.is_dir():
        return 0
    try:
        lock = PrefixLock(prefix)
    except StartupError as error:
        print(error, file=sys.stderr)  # noqa: T201  # a command
        return 1
    orphans, sockets = find_orphans(prefix)
    for each in sockets:
        each.close()
    for orphan in orphans:
        orphan.send_away()
    lock.release()
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), os.environ))
