"""The blocks of keys and teams: a malformed limit lets nobody pass, anything else that is malformed is left out."""

from __future__ import annotations

from typing import Any

import pytest

from exacto_plugin.core.routing.filters import BLOCK
from exacto_plugin.core.routing.policy import Filter
from exacto_plugin.litellm_hooks.faults import FaultReporter
from exacto_plugin.litellm_hooks.request.key_defaults import KeyDefaults, read_block
from exacto_plugin.litellm_hooks.request.state import CURRENT, RequestState

SOURCE = "set for this key"


def nested(depth: int) -> Any:
    """Lists in lists."""
    made: Any = []
    for _ in range(depth):
        made = [made]
    return made


@pytest.mark.parametrize("strange", [10**400, nested(300), {"a": [2**64]}], ids=["number", "levels", "mapping"])
def test_limits_hold_beside_what_cannot_be_written(strange: Any) -> None:
    """Integers beyond 64 bits and deep nesting are malformed too, and take nothing away from the others."""
    faults = FaultReporter(lambda _stage: None)
    defaults = KeyDefaults(faults)
    metadata = {
        "user_api_key_metadata": {BLOCK: {"only": ["vetted"], "ignore": strange, "other": strange}},
        "user_api_key_team_metadata": {BLOCK: {"ignore": ["banned"]}},
    }
    for _ in range(2):
        malformed, only, ignore = defaults.of({"metadata": metadata}).filters
        assert (malformed.name, malformed.source, malformed.expected) == ("ignore", SOURCE, "a list")
        assert only == Filter("only", ("vetted",), SOURCE)
        assert ignore == Filter("ignore", ("banned",), "set for this team")
    assert faults.counts == {"caller_limits": 1}
    whole = [one.name for one in defaults.of({"metadata": {"user_api_key_metadata": {BLOCK: strange}}}).filters]
    assert whole == ([] if isinstance(strange, dict) else [BLOCK])


@pytest.mark.parametrize(
    ("block", "closed"),
    [
        ({"only": "eu"}, {"only": "a list"}),
        ({"only": []}, {"only": "a list with at least one entry"}),
        ({"only": ["eu", 7]}, {"only": "a text at only[1]"}),
        ({"ignore": {"us": True}}, {"ignore": "a list"}),
        ({"zdr": "true"}, {"zdr": "true or false"}),
        ({"zdr": 1}, {"zdr": "true or false"}),
        ({"data_collection": "never"}, {"data_collection": "one of allow, deny"}),
        ({"max_price": 3}, {"max_price": "a mapping"}),
        ({"max_price": {"prompt": -1}}, {"max_price": "at least 0.0 at max_price.prompt"}),
        ({"max_price": {"SECRET": 1}}, {"max_price": "one of prompt, completion"}),
        ({"quantizations": ["a b"]}, {"quantizations": "a word such as fp8, int4 or unknown at quantizations[0]"}),
        ("only", {"exacto": "a mapping"}),
        (["only"], {"exacto": "a mapping"}),
        (False, {"exacto": "a mapping"}),
        ({"only": 1, "zdr": None, "default_sort": 1, 7: 7}, {"only": "a list"}),
        ({"default_sort": "luck", "onyl": ["eu"]}, {}),
        ({"only": None, "zdr": False}, {}),
        ({}, {}),
    ],
    ids=str,
)
def test_malformed_limits_are_closed(block: object, closed: dict[str, str]) -> None:
    """Each names what should stand there, and nothing of what does."""
    read = read_block(block)
    assert dict(read.unreadable) == closed
    malformed = [one for one in read.filters(SOURCE) if one.expected]
    assert malformed == [Filter(name, (), SOURCE, expected) for name, expected in closed.items()]


def test_a_caller_that_litellm_does_not_tell() -> None:
    """Where it routes without a request's metadata, what its authentication found counts; elsewhere it does not."""
    defaults = KeyDefaults(FaultReporter(lambda _stage: None))
    state = RequestState(http=True)
    state.caller = {"user_api_key_metadata": {BLOCK: {"only": ["eu"]}}, "user_api_key_team_metadata": None}
    token = CURRENT.set(state)
    try:
        found = (Filter("only", ("eu",), SOURCE),)
        assert defaults.of({}).filters == defaults.of({"metadata": {"tags": []}}).filters == found
        assert defaults.of({"metadata": {"user_api_key_metadata": {}}}).filters == ()
    finally:
        CURRENT.reset(token)
    assert defaults.of({}).filters == ()
