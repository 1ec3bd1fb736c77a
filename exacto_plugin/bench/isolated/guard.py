"""Runs a command, and ends it and its descendants when the starter ends.

    python -I -S guard.py COMMAND [ARGUMENT ...]

The starter holds the other end of standard input. However the starter ends, by ``kill -9`` too, the system closes it;
then the command's process group is ended. Uses the standard library alone, so that it starts at once.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

PATIENCE_S = 5.0
"""Seconds between SIGTERM and SIGKILL."""


def end(group: int) -> None:
    """End a process group: SIGTERM, then SIGKILL."""
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGTERM)
        for _ in range(int(PATIENCE_S * 20)):
            time.sleep(0.05)
            os.killpg(group, 0)  # raises once nothing of it is left; zombies are reaped by the waiting thread
        os.killpg(group, signal.SIGKILL)


def main(command: list[str]) -> int:
    """Run the command; return its status, 128 plus the number for a signal."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)

    def stop(*_: object) -> None:
        threading.Thread(target=end, args=(child.pid,), daemon=True).start()

    def watch() -> None:
        while os.read(0, 1):  # not through sys.stdin, which Python closes when it ends
            pass
        end(child.pid)

    for ending in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(ending, stop)
    threading.Thread(target=watch, daemon=True).start()
    status = child.wait()
    end(child.pid)  # descendants that outlived it
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
