"""The log of outcomes: every sample as a line of JSON, for ``exacto replay``; only where an operator asked for it.

No text and no key: names of model groups and deployments, verdicts, blame, sizes, times and salted hashes of callers.
Lines are in the order of time. A thread of its own writes; what cannot be written is counted and left out.
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
from exacto_plugin.core.model import Sample
from exacto_plugin.core.wire import to_wire, wire_names
from exacto_plugin.store.worker import WorkerThread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from exacto_plugin.config.settings import StoreSettings

logger = logging.getLogger("exacto_plugin")

CAPACITY = 50_000
"""Entries that wait to be written at most; more are dropped and counted."""

EVERY_S = 2.0
"""Between two writings; entries of this time are brought into order."""

FILES = 10
"""Files of one process that are kept."""

_DEFAULTS = {wire_names(Sample)[entry.name]: entry.default for entry in fields(Sample)}


def sample_line(sample: Sample) -> str:
    """One sample under its wire names; what is at its default is left out."""
    said = {name: value for name, value in to_wire(sample).items() if value != _DEFAULTS[name]}
    return orjson.dumps({"type": "sample", **said}).decode()


def members_line(model_group: str, prices: Mapping[str, float | None], at: float) -> str:
    """Who serves a model group as of a time, at which price per token."""
    entry = {"type": "roster", "model_group": model_group, "at": at, "deployments": dict(prices)}
    return orjson.dumps(entry).decode()


def sample_log(settings: StoreSettings, report: Callable[[Exception], None]) -> SampleLog | None:
    """The log that the settings ask for, closed when the process ends; None when they ask for none."""
    if settings.outcomes is None:
        return None
    log = SampleLog(Path(settings.outcomes).expanduser(), int(settings.outcomes_mb * 1e6), report)
    at_exit(log.close)
    return log


class SampleLog:
    """Writes one file after the other, ``outcomes-PROCESS-NUMBER.jsonl``; may be used from any thread.

    Args:
        directory: where; each process has files of its own there.
        most_bytes: after which a new file is begun.
        report: told of faults of ours in the thread.
    """

    def __init__(self, directory: Path, most_bytes: int, report: Callable[[Exception], None]) -> None:
        self._directory = directory
        self._most_bytes = most_bytes
        self._waiting: deque[tuple[float, Sample | tuple[str, dict[str, float | None]]]] = deque()
        self._rosters: dict[str, dict[str, float | None]] = {}
        self._written: dict[str, dict[str, float | None]] = {}
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
        """Write one sample, soon."""
        self._take(sample.at, sample)

    def group_members(self, model_group: str, prices: Mapping[str, float | None], at: float) -> None:
        """Say who serves a model group as of a time; nothing where that is known."""
        told = dict(prices)
        if told and self._rosters.get(model_group) != told:
            self._rosters[model_group] = told
            self._take(at, (model_group, told))

    def close(self) -> None:
        """Write what waits and end."""
        self._worker.close(EVERY_S)

    def _take(self, at: float, entry: Sample | tuple[str, dict[str, float | None]]) -> None:
        if len(self._waiting) >= CAPACITY:
            self.dropped += 1
            return
        self._waiting.append((at, entry))
        self._worker.ensure_started()

    def _write(self) -> float:
        taken = sorted((self._waiting.popleft() for _ in range(len(self._waiting))), key=lambda one: one[0])
        try:
            for at, entry in taken:
                # What ended a moment before the line that stands there already counts as of then.
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
                    "exacto_plugin cannot write outcomes where store.outcomes says (%s); what happens meanwhile is not"
                    " in the log",
                    error.strerror,
                )
        return EVERY_S

    def _line(self, line: str) -> None:
        if self._file is None or self._size >= self._most_bytes:
            self._begin_file()
        self._size += self._file.write(f"{line}\n")

    def _begin_file(self) -> None:
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
