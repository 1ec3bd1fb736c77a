"""The example programs run as they are written, against the providers that they bring along."""

from __future__ import annotations

import os
import runpy
from contextvars import copy_context
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
SAID = {
    "sdk_async.py": ["before verdicts: {", "kimi-k2: steady is ", "kimi-k2: shaky is ", "kimi-k2:exacto went to "],
    "sdk_sync.py": [
        "kimi-k2: steady is ",
        "kimi-k2:exacto went to steady",
        "refused with 400: Invalid value for provider",
    ],
    "sdk_direct.py": ["127.0.0.1", "5 answers, 100% of them in order", "localhost"],
}
"""What each of them says on the way."""


@pytest.mark.parametrize("name", sorted(SAID))
def test_an_example_runs(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """It ends well and says what it is there to show; nothing of the plugin is left out on the way."""
    for key in [key for key in os.environ if key.endswith("_API_KEY")]:
        monkeypatch.delenv(key)
    monkeypatch.syspath_prepend(EXAMPLES)  # as for a program that is started
    copy_context().run(runpy.run_path, str(EXAMPLES / name), run_name="__main__")
    told = capsys.readouterr().out
    for said in SAID[name]:
        assert said in told
    assert "left out a step" not in caplog.text


def test_every_example_program_is_tested() -> None:
    """A new one is run too."""
    assert {path.name for path in EXAMPLES.glob("sdk_*.py")} == set(SAID)
