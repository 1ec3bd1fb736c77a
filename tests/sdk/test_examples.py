"""The example programs run as they are written, against the providers that they bring along."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
SAID = {
    "sdk_async.py": [
        "before verdicts: ",
        "after verdicts: ",
        "kimi-k2: shaky is deranked",
        "kimi-k2:exacto went to steady",
    ],
    "sdk_sync.py": [
        "kimi-k2: shaky is deranked",
        "kimi-k2:exacto went to steady",
        "refused with 400: Invalid value for provider",
    ],
    "sdk_direct.py": ["127.0.0.1", "5 answers, 100% of them in order", "localhost"],
}
"""What each of them says on the way."""


@pytest.mark.parametrize("name", sorted(SAID))
def test_an_example_runs(name: str) -> None:
    """It ends well and says what it is there to show; nothing of the plugin is left out on the way."""
    environment = {key: value for key, value in os.environ.items() if not key.endswith("_API_KEY")}
    ran = subprocess.run(
        [sys.executable, str(EXAMPLES / name)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    for said in SAID[name]:
        assert said in ran.stdout
    assert "skipped a step" not in ran.stderr


def test_every_example_program_is_tested() -> None:
    """A new one is run too."""
    assert {path.name for path in EXAMPLES.glob("sdk_*.py")} == set(SAID)


def test_without_a_web_server_an_example_says_what_to_install() -> None:
    """In words, instead of a traceback; all of them take their providers from the same place."""
    for name in SAID:
        assert "with deployments()" in (EXAMPLES / name).read_text(encoding="utf-8")
    code = (
        "import sys\n"
        "sys.modules['uvicorn'] = None\n"
        f"sys.path.insert(0, {str(EXAMPLES)!r})\n"
        "from providers import deployments\n"
        "with deployments():\n"
        "    pass\n"
    )
    environment = {key: value for key, value in os.environ.items() if not key.endswith("_API_KEY")}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert ran.returncode == 1
    assert "Traceback" not in ran.stderr
    assert "uvicorn is missing: pip install starlette uvicorn, or set one of OPENROUTER_API_KEY" in ran.stderr
