"""Regular runs on many machines by Temporal.

Needs the extra: ``pip install 'exacto-plugin[temporal]'``. Each pair of benchmark and deployment has a workflow, whose
activity runs ``exacto bench run`` and sends heartbeats. When a worker dies the heartbeats end, and another worker takes
the run up again.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from temporalio import activity, workflow
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from exacto_plugin.bench.isolated.guarded import GuardedProcess

QUEUE = "exacto-bench"
"""Task queue of workers and schedules."""

LONGEST_S = 12 * 3600.0
"""Time for one attempt of a run."""

_FINISHED = (0, 1)
"""Statuses of a run that ended; 1: it was refused, or a deployment is flagged."""

_MESSAGE = 500
"""Characters of a command's last output in the error of a failed attempt."""


@dataclass
class ScheduledPair:
    """A benchmark and a deployment.

    Workers run ``exacto bench run`` with the arguments, and nothing else.
    """

    name: str
    arguments: list[str] = field(default_factory=list)
    heartbeat_s: float = 60.0
    """Seconds without a heartbeat after which another worker takes over."""
    attempts: int = 5


@activity.defn(name="exacto-bench-run")
async def run_pair(pair: ScheduledPair) -> int:
    """Run a pair as a process that ends with this one, and return its status.

    Raises:
        ApplicationError: it failed; Temporal tries again.
    """
    with tempfile.TemporaryFile() as output:
        command = [sys.executable, "-m", "exacto_plugin", "bench", "run", *pair.arguments]
        status: int | None
        process = GuardedProcess(command, os.environ, Path.cwd(), output)
        try:
            while (status := process.poll()) is None:
                activity.heartbeat()
                await asyncio.sleep(min(pair.heartbeat_s / 4, 5.0))
        finally:
            process.stop()
        if status not in _FINISHED:
            output.seek(0)
            told = output.read().decode(errors="replace")[-_MESSAGE:]
            raise ApplicationError(f"exacto bench run ended with status {status}: {told}")
        return status


@workflow.defn(name="exacto-bench-pair")
class BenchmarkPairWorkflow:
    """One run of a pair, repeated until it ends."""

    @workflow.run
    async def run(self, pair: ScheduledPair) -> int:
        """Return the status of the run."""
        status: int = await workflow.execute_activity(
            run_pair,
            pair,
            start_to_close_timeout=timedelta(seconds=LONGEST_S),
            heartbeat_timeout=timedelta(seconds=pair.heartbeat_s),
            retry_policy=RetryPolicy(initial_interval=timedelta(seconds=1), maximum_attempts=pair.attempts),
        )
        return status


async def serve(address: str, namespace: str, queue: str, at_once: int) -> None:
    """Run pairs until interrupted.

    Args:
        address: ``HOST:PORT`` of the Temporal server.
        namespace: of the schedules.
        queue: task queue.
        at_once: runs at the same time.
    """
    client = await Client.connect(address, namespace=namespace)
    worker = Worker(
        client,
        task_queue=queue,
        workflows=[BenchmarkPairWorkflow],
        activities=[run_pair],
        max_concurrent_activities=at_once,
        workflow_runner=UnsandboxedWorkflowRunner(),
    )
    await worker.run()


async def schedule(client: Client, pairs: list[ScheduledPair], every_s: float, queue: str) -> None:
    """Create or change the schedule of each pair.

    A run that is still going skips the next.

    Args:
        client: of the server.
        pairs: each has a schedule of its name.
        every_s: seconds between two starts.
        queue: task queue of the workers.
    """
    for pair in pairs:
        action = ScheduleActionStartWorkflow(BenchmarkPairWorkflow.run, pair, id=f"{pair.name}-run", task_queue=queue)
        made = Schedule(
            action=action,
            spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timedelta(seconds=every_s))]),
            policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP),
        )
        try:
            await client.create_schedule(pair.name, made)
        except ScheduleAlreadyRunningError:
            await client.get_schedule_handle(pair.name).update(_replaced(made))


def _replaced(made: Schedule):  # type: ignore[no-untyped-def]
    def update(_: ScheduleUpdateInput) -> ScheduleUpdate:
        return ScheduleUpdate(schedule=made)

    return update
