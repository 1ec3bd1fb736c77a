"""The benchmarks that can be run, with the same parameters each time.

Temperatures and numbers of runs are those of OpenRouter's documentation of Auto Exacto where it has them. Tokens of an
answer are estimates for the plan; what a run really costs is counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from exacto_plugin.errors import ExactoError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

INSPECT: Final = ("inspect-ai==0.3.285", "openai>=3.4")
"""Of the environment for tasks of our own; ``openai`` is no dependency of Inspect."""


@dataclass(frozen=True, slots=True)
class BenchmarkSpec:
    """One benchmark."""

    name: str
    """On the command line."""
    recorded: str
    """In records."""
    title: str
    tasks: int
    runs: int
    """Answers to each task that a verdict needs."""
    temperature: float
    input_tokens: int
    """Estimate for one answer, a conversation as a whole."""
    output_tokens: int
    packages: tuple[str, ...]
    """Requirements of its environment, pinned."""
    tools: bool = True
    user_model: bool = False
    """A second model speaks as the user."""
    data: str = ""
    """What ``--data`` names; empty: nothing."""
    most_connections: int = 4
    """Requests at a time."""

    @property
    def program(self) -> str:
        """The program in the environment that runs it."""
        return "bench" if self.name == AIRLINE else "inspect"


AIRLINE: Final = "airline"
GPQA: Final = "gpqa"
PARCELS: Final = "parcels"

SPECIFICATIONS: Final[Mapping[str, BenchmarkSpec]] = {
    one.name: one
    for one in (
        BenchmarkSpec(PARCELS, "parcels", "a dozen tool-use tasks of our own", 12, 4, 0.0, 5_000, 300, INSPECT),
        BenchmarkSpec(
            GPQA,
            "gpqa_diamond",
            "GPQA Diamond through inspect_evals",
            198,
            4,
            0.5,
            300,
            2_000,
            (*INSPECT, "inspect-evals==0.26.0"),
            tools=False,
            data="the directory with gpqa/gpqa_diamond.csv",
        ),
        BenchmarkSpec(
            AIRLINE,
            "tau2_airline",
            "tau2-bench airline through OpenBench",
            50,
            4,
            0.0,
            100_000,
            2_000,
            ("openbench==0.5.3", "mcp<2"),
            user_model=True,
            data="the data directory of tau2-bench-verified, or the wheel of inspect_evals",
        ),
    )
}
"""By name."""

_PARCELS_FILE: Final = Path(__file__).parents[1] / "parcels" / "task.py"


@dataclass(frozen=True, slots=True)
class Invocation:
    """The difference between two runs of a benchmark."""

    model: str
    """Name of the model in the isolated proxy."""
    runs: int
    user_model: str = ""
    data: Path | None = None
    tasks: str = ""
    """SHA-256 of the tasks, where its program does not say which they are."""


def command_of(spec: BenchmarkSpec, program: Path, invocation: Invocation, logs: Path) -> list[str]:
    """Return the command that runs a benchmark, or goes on with a run.

    Args:
        spec: of the benchmark.
        program: ``spec.program`` of an environment.
        invocation: the model and the number of runs.
        logs: the directory of this run's logs; a run that was broken off has its log there.

    Raises:
        ExactoError: the benchmark needs a second model or data, and none is named.
    """
    if spec.user_model and not invocation.user_model:
        raise ExactoError(f"{spec.name}: name the deployment that speaks as the user with --user-model")
    if spec.name == AIRLINE:
        return _openbench(spec, program, invocation, logs)
    task = f"{_PARCELS_FILE}@parcels" if spec.name == PARCELS else "inspect_evals/gpqa_diamond"
    return [
        *(str(program), "eval-set", task, "--model", f"openai-api/litellm/{invocation.model}"),
        *("--log-dir", str(logs), "--log-buffer", "1", "--log-dir-allow-dirty", "--no-log-realtime"),
        *("--retry-attempts", "0", "--max-retries", "3", "--fail-on-error", "0.1", "--display", "none"),
        *("--metadata", f"exacto_deployment={invocation.model}", *_same(spec, invocation)),
    ]


def _same(spec: BenchmarkSpec, invocation: Invocation) -> Sequence[str]:
    return (
        *("--epochs", str(invocation.runs), "--temperature", str(spec.temperature)),
        *("--max-connections", str(spec.most_connections)),
    )


_RETRY: Final = """
import sys
import openbench.evals.tau_bench
from inspect_ai import eval_retry
from inspect_ai.log import read_eval_log
log, folder, connections = sys.argv[1:]
begun = read_eval_log(log)
begun.eval.model_base_url = None
ended = eval_retry(begun, log_dir=folder, log_buffer=1, fail_on_error=0.1, max_connections=int(connections))
sys.exit(any(one.status != "success" for one in ended))
"""
"""Goes on with a log of OpenBench, in its environment.

``bench eval-retry`` asks the address that is in the log, of a proxy that has ended; and it finds a task by importing
all of OpenBench's, one of which asks the internet."""


def _openbench(spec: BenchmarkSpec, program: Path, invocation: Invocation, logs: Path) -> list[str]:
    """Return OpenBench's command.

    It has no ``eval-set``, so that a log is retried by its name.
    """
    broken_off = sorted(logs.glob("*.eval"))
    if broken_off:
        python = str(program.with_name("python"))
        return [python, "-c", _RETRY, str(broken_off[-1]), str(logs), str(spec.most_connections)]
    return [
        *(str(program), "eval", "tau_bench_airline", "--alpha", "--model", f"openai-api/litellm/{invocation.model}"),
        *("-T", f"user_model=openai-api/litellm/{invocation.user_model}", "--log-dir", str(logs)),
        *("--log-buffer", "1", "--fail-on-error", "0.1", *_same(spec, invocation)),
    ]


def variables_of(spec: BenchmarkSpec, base_url: str, key: str, invocation: Invocation) -> dict[str, str]:
    """Return the variables of a benchmark's program: address, key and data.

    The address is none of the command's arguments, so that a run goes on through another proxy.
    """
    found = {"LITELLM_BASE_URL": f"{base_url}/v1", "LITELLM_API_KEY": key}
    if invocation.data is not None and spec.name == AIRLINE:
        found["TAU2_DATA_DIR"] = str(invocation.data.absolute())
    if invocation.data is not None and spec.name == GPQA:
        found["INSPECT_EVALS_CACHE_DIR"] = str(invocation.data.absolute())
    return found
