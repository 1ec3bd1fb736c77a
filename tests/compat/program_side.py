"""The lines of programs: :mod:`tests.compat.program`, run by the interpreter of another environment."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.compat.cases import Answer
from tests.compat.judging import Outcome
from tests.compat.plan import ROUTER

if TYPE_CHECKING:
    from tests.compat.plan import Plan, Request

_PROGRAM: Final = Path(__file__).with_name("program.py")
_TIMEOUT_S: Final = 600.0
_TAIL: Final = 2_000
"""Characters of the end of what a program that failed said."""


def ask_program(plan: Plan, interpreter: Path, checkout: Path) -> Outcome:
    """Run the program and read what came of it.

    Args:
        plan: what is asked; the providers behave as it says.
        interpreter: runs it.
        checkout: the repository that the plugin is taken from.

    Raises:
        RuntimeError: the program failed; the message has the end of what it said.
    """
    with tempfile.TemporaryDirectory(prefix="exacto-compat-") as directory:
        given, answers = Path(directory, "plan.json"), Path(directory, "answers.json")
        given.write_text(json.dumps(_plain(plan)))
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        environment = {
            **kept,
            "PYTHONPATH": str(checkout),
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "NO_PROXY": "127.0.0.1,localhost",
        }
        command = [str(interpreter), "-P", str(_PROGRAM), str(given), str(answers)]
        ran = subprocess.run(command, env=environment, capture_output=True, timeout=_TIMEOUT_S, check=False, text=True)
        if ran.returncode or not answers.exists():
            raise RuntimeError(f"the program failed:\n{ran.stderr.strip()[-_TAIL:]}")
        told = json.loads(answers.read_text())
    found = {marker: Answer(**answer) for marker, answer in told["answers"].items()}
    return Outcome(found, plan.seen(), told["verdicts"], told["features"])


def _plain(plan: Plan) -> dict[str, Any]:
    def request(channel: str, one: Request) -> dict[str, Any]:
        return {"marker": one.marker, "channel": channel, "keywords": one.keywords}

    return {
        "settings": plan.settings(),
        "model_list": plan.model_list(),
        "router": ROUTER,
        "warm": [
            [request(line.channel, one) for line in plan.lines for one in line.warm(turn)] for turn in plan.rounds
        ],
        "requests": [request(line.channel, one) for line in plan.lines for one in (*line.asks, *line.controls)],
    }
