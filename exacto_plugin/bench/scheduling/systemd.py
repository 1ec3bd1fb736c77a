"""Unit files of systemd for regular runs on one machine. Pure."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "exacto-bench"

_SERVICE = """\
[Unit]
Description=Benchmark runs of exacto_plugin
After=network-online.target
Wants=network-online.target

[Service]
Type=oneshot
# 1: a run was refused, or a deployment is flagged; `exacto bench show` tells.
SuccessExitStatus=1
# Keys of providers that the configuration reads from the environment; the file is optional.
EnvironmentFile=-/etc/exacto/bench.env
ExecStart={command}
# A run that breaks off is resumed by the next one.
TimeoutStartSec=12h
Nice=10
"""

_TIMER = """\
[Unit]
Description=Benchmark runs of exacto_plugin, {every}

[Timer]
OnCalendar={every}
RandomizedDelaySec=30min
# What was missed while the machine was off runs at the next start.
Persistent=true

[Install]
WantedBy=timers.target
"""


def unit_files(program: str, arguments: Sequence[str], every: str) -> dict[str, str]:
    """Return a service and its timer, by file name.

    The service is ``oneshot``: systemd starts no second one while it runs.

    Args:
        program: path of ``exacto``.
        arguments: after ``exacto bench run``.
        every: a calendar expression of systemd.
    """
    # systemd replaces % and $ in a command line.
    quoted = shlex.join([program, "bench", "run", *arguments]).replace("%", "%%").replace("$", "$$")
    return {f"{NAME}.service": _SERVICE.format(command=quoted), f"{NAME}.timer": _TIMER.format(every=every)}
