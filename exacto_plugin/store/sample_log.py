"""The sample log: every sample as a line of JSON, for ``exacto replay``.

Off by default. It has no text and no key: only names of model groups and deployments, outcomes, attributions, sizes,
times and salted hashes of callers. Lines are in order of time. A thread of its own writes; entries that cannot be
written are counted and dropped.
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from exacto_plugin.at_exit import at_exit
from exacto_plugin.core.model import DeploymentKey, Sample
from exacto_plugin.core.wire import to_wire, wire_names
from exacto_plugin.store.worker import WorkerThread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from exacto_plugin.config.storage import StoreSettings

logger = logging.getLogger("exacto_plugin")

CAPACITY = 50_000
"""Most entries that wait to be written; further ones are dropped and counted."""

EVERY_S = 2.0
"""Seconds between two writes; the entries of one write are sorted by time."""

FILES = 10
"""Files that are kept for one process."""

_DEFAULTS = {wire_names(Sample)[entry.name]: entry.default for entry in fields(Sample)}


def sample_line(sample: Sample) -> str:
    """Format one sample under its wire names; defaults are left out."""
    changed = {name: value for name, value in to_wire(sample).items() if value != _DEFAULTS[name]}
    return orjson.dumps({"type": "sample", **changed}).decode()


def members_line(model_group: str, prices: Mapping[DeploymentKey, float | None], at: float) -> str:
    """Format the deployments of a model group as of a time, with price per token."""
    entry = {"type": "roster", "model_group": model_group, "at": at, "deployments": dict(prices)}
    return orjson.dumps(entry).decode()


def sample_log(settings: StoreSettings, report: Callable[[Exception], None]) -> SampleLog | None:
    """Open the log of the settings, closed at exit; None when it is off."""
    if settings.outcomes is None:
        return None
    log = SampleLog(Path(settings.outcomes).expanduser(), int(settings.outcomes_mb * 1e6), report)
    at_exit(log.close)
    return log


class SampleLog:
    """A writer of rotating files ``outcomes-PROCESS-NUMBER.jsonl``; thread-safe.

    Args:
        directory: of the files; each process has its own there.
        most_bytes: size after which a new file begins.
        report: called with unexpected errors of the thread.
    """

    def __init__(self, directory: Path, most_bytes: int, report: Callable[[Exception], None]) -> None:
        self._directory = directory
        self._most_bytes = most_bytes
        self._waiting: deque[tuple[float, Sample | tuple[str, dict[DeploymentKey, float | None]]]] = deque()
        self._rosters: dict[str, dict[DeploymentKey, float | None]] = {}
        self._written: dict[str, dict[DeploymentKey, float | None]] = {}
        self._process = f"{int(time.time())}-{os.getpid()}"
        self._number = 0
        self._file: Any = None
        self._size = 0
        self._last = 0.0
        self._reported = False
        self.dropped = 0
        """Entries that were not written."""
        self._worker = WorkerThread("exacto-outcomes", lambda work: work(), self._write, self._close_file, report)

    def sample(self, sample: Sample) -> None:
        """Queue one sample to be written."""
        self._enqueue(sample.at, sample)

    def group_members(self, model_group: str, prices: Mapping[DeploymentKey, float | None], at: float) -> None:
        """Queue the deployments of a model group as of a time, unless unchanged."""
        members = dict(prices)
        if members and self._rosters.get(model_group) != members:
            self._rosters[model_group] = members
            self._enqueue(at, (model_group, members))

    def close(self) -> None:
        """Write the waiting entries and end."""
        self._worker.close(EVERY_S)

    def _enqueue(self, at: float, entry: Sample | tuple[str, dict[DeploymentKey, float | None]]) -> None:
        if len(self._waiting) >= CAPACITY:
            self.dropped += 1
            return
        self._waiting.append((at, entry))
        self._worker.ensure_started()

    def _write(self) -> float:
        taken = sorted((self._waiting.popleft() for _ in range(len(self._waiting))), key=lambda one: one[0])
        try:
            for at, entry in taken:
                # A sample that ended a moment before the members line already belongs to its time.
                self._last = max(self._last, at)
                if isinstance(entry, Sample):
                    self._line(sample_line(replace(entry, at=self._last)))
                else:
                    self._line(members_line(entry[0], entry[1], self._last))
                    self._written[entry[0]] = entry[1]
            if self._file is not None:
                self._file.flush()
            self._reported = False
        except OSError as error:
            self.dropped += len(taken)
            self._close_file()
            if not self._reported:
                self._reported = True
                logger.warning(
                    "exacto_plugin cannot write the sample log of store.outcomes (%s); samples are lost meanwhile",
                    error.strerror,
                )
        return EVERY_S

    def _line(self, line: str) -> None:
        if self._file is None or self._size >= self._most_bytes:
            self._open_file()
        self._size += self._file.write(f"{line}\n")

    def _open_file(self) -> None:
        self._close_file()
        self._directory.mkdir(parents=True, exist_ok=True)
        self._number += 1
        self._file = self._path(self._number).open("w", encoding="utf-8")
        self._size = 0
        # Each file can be replayed by itself.
        for model_group, prices in self._written.items():
            self._size += self._file.write(f"{members_line(model_group, prices, self._last)}\n")
        with suppress(FileNotFoundError):
            self._path(self._number - FILES).unlink()

    def _path(self, number: int) -> Path:
        return self._directory / f"outcomes-{self._process}-{number:05}.jsonl"

    def _close_file(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            with suppress(OSError):
                file.close()
