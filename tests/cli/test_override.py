"""What ``exacto override`` tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from exacto_plugin.cli import override
from exacto_plugin.cli.command import main

if TYPE_CHECKING:
    from collections.abc import Mapping

ANSWER: dict[str, Any] = {
    "kept": False,
    "overrides": [
        {
            "model_group": "moonshotai/kimi-k2-0905",
            "deployment": "kimi-k2-of-the-second-region",
            "word": "good",
            "expires": 1_800_000_000.0,
            "measured_tier": "deranked",
        }
    ],
}


@pytest.mark.parametrize("width", [60, 80])
def test_sentences_are_as_wide_as_the_terminal(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are wrapped at words; the terminal would break them anywhere."""

    def send(_options: object, _body: Mapping[str, object]) -> dict[str, Any]:
        return ANSWER

    monkeypatch.setattr(override, "_send", send)
    monkeypatch.setenv("COLUMNS", str(width))
    assert main(["override", "x", "good", "--for", "2h", "--reason", "repaired", "--url", "http://proxy:4000"]) == 0
    told = capsys.readouterr().out
    assert max(map(len, told.splitlines())) <= width
    words = told.split()
    assert words[:2] == ["moonshotai/kimi-k2-0905:", "kimi-k2-of-the-second-region"]
    assert "(see /exacto/api/status)" in " ".join(words)
