"""The log of outcomes: what it holds is what ``exacto replay`` reads, in order, in files that come and go."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from exacto_plugin.core.model import Blame, DeploymentKey, Flaw, Outcome, Sample
from exacto_plugin.simulate.replay import MembersEntry, read_log
from exacto_plugin.store.sample_log import FILES, SampleLog
from tests.support.samples import START, answer

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

FAULTS: list[Exception] = []


def log_in(directory: Path, most_bytes: int = 10**6) -> SampleLog:
    """A log whose faults fail the test."""
    FAULTS.clear()
    return SampleLog(directory, most_bytes, FAULTS.append)


def files(directory: Path) -> list[Path]:
    """Its files, oldest first."""
    return sorted(directory.glob("outcomes-*.jsonl"))


def test_samples_and_rosters_are_read_back(tmp_path: Path) -> None:
    """Every field; a roster once as long as it is the same; out of order only by moments, which are put right."""
    log = log_in(tmp_path / "made")
    one = answer("a", START, Outcome.SCHEMA_MISMATCH, output_tokens=211, duration_s=3.4, caller="5f1c", streamed=True)
    lost = answer("b", START + 2, None, lost=True, flaws=(Flaw.LEAKED_MARKUP,), blame=Blame.PROVIDER)
    failed = Sample("g", DeploymentKey("a"), START + 1, ok=False)
    for _ in range(2):
        log.group_members("g", {DeploymentKey("a"): 2e-6, DeploymentKey("b"): None}, START)
    for sample in (one, lost, failed):
        log.sample(sample)
    log.close()
    (file,) = files(tmp_path / "made")
    entries = list(read_log(file))
    assert entries[0] == MembersEntry(
        model_group="g", at=START, deployments={DeploymentKey("a"): 2e-6, DeploymentKey("b"): None}
    )
    assert entries[1:] == [one, failed, lost]
    assert (log.dropped, FAULTS) == (0, [])


def test_files_are_of_bounded_size_and_number(tmp_path: Path) -> None:
    """A full file is followed by the next one, which can be replayed by itself; the oldest ones go."""
    log = log_in(tmp_path, most_bytes=2000)
    log.group_members("g", {DeploymentKey("a"): None}, START)
    for number in range(400):
        log.sample(answer("a", START + number))
    log.close()
    found = files(tmp_path)
    assert len(found) == FILES
    assert all(file.stat().st_size <= 2500 for file in found)
    for file in found:
        first, *rest = read_log(file)
        assert isinstance(first, MembersEntry)
        assert rest
    last = list(read_log(found[-1]))[-1]
    assert last.at == START + 399
    assert FAULTS == []


def test_what_cannot_be_written_is_counted_and_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A directory that is none: requests do not notice, and a log that can be written again goes on."""
    (tmp_path / "file").touch()
    log = log_in(tmp_path / "file")
    ends = time.monotonic() + 20
    while not log.dropped:
        assert time.monotonic() < ends
        log.sample(answer())
        time.sleep(0.01)
    (tmp_path / "file").unlink()
    log.sample(answer("last"))
    log.close()
    assert len([record for record in caplog.records if "cannot write the sample log" in record.message]) == 1
    (file,) = files(tmp_path / "file")
    assert [entry.deployment for entry in read_log(file) if isinstance(entry, Sample)][-1] == "last"
    assert FAULTS == []
