"""The blocks of keys and teams: what is malformed is left out, and the rest holds."""

from __future__ import annotations

from typing import Any

import pytest

from exacto_plugin.core.policy import Filter
from exacto_plugin.litellm_hooks.caller_defaults import BLOCK, CallerDefaults
from exacto_plugin.litellm_hooks.faults import Faults


def nested(depth: int) -> Any:
    """Lists in lists."""
    made: Any = []
    for _ in range(depth):
        made = [made]
    return made


@pytest.mark.parametrize("strange", [10**400, nested(300), {"a": [2**64]}])
def test_limits_hold_beside_what_cannot_be_written(strange: Any) -> None:
    """Integers beyond 64 bits and deep nesting cost their own field only, neither the others nor the team's block."""
    faults = Faults(lambda _stage: None)
    defaults = CallerDefaults(faults)
    metadata = {
        "user_api_key_metadata": {BLOCK: {"only": ["vetted"], "ignore": strange, "other": strange}},
        "user_api_key_team_metadata": {BLOCK: {"ignore": ["banned"]}},
    }
    for _ in range(2):
        only, ignore = defaults.of({"metadata": metadata}).filters
        assert only == Filter("only", ("vetted",), only.source)
        assert ignore == Filter("ignore", ("banned",), ignore.source)
    assert faults.counts == {"caller_metadata": 1}
    assert defaults.of({"metadata": {"user_api_key_metadata": {BLOCK: strange}}}).filters == ()
