"""Who is the caller of a request: its key, and the user, else the team, else the organisation of the key."""

from __future__ import annotations

from typing import Any

import pytest

from exacto_plugin.litellm_hooks.scoring.caller import Caller, caller_of, hashed

KEY, USER, TEAM, ORG = "user_api_key_hash", "user_api_key_user_id", "user_api_key_team_id", "user_api_key_org_id"


def of(**metadata: Any) -> Caller:
    """The caller by the metadata of a log event."""
    return caller_of({"standard_logging_object": {"metadata": metadata}})


@pytest.mark.parametrize(
    ("metadata", "account"),
    [
        ({USER: "u", TEAM: "t", ORG: "o"}, "user u"),
        ({USER: None, TEAM: "t", ORG: "o"}, "team t"),
        ({USER: "", TEAM: None, ORG: "o"}, "organisation o"),
        ({}, ""),
        ({USER: "default_user_id", TEAM: "t"}, "team t"),
        ({USER: "default_user_id"}, ""),
        ({USER: 7, TEAM: ["t"], ORG: {"o": 1}}, ""),
    ],
)
def test_the_account_is_the_closest_to_the_key(metadata: dict[str, Any], account: str) -> None:
    """LiteLLM's user of the master key, whom keys of anybody may have, is none."""
    assert of(**{KEY: "k"}, **metadata) == Caller("k", account)


def test_a_user_and_a_team_of_one_name_are_two_accounts() -> None:
    """Ids are unique among users only, or among teams."""
    assert of(**{USER: "x"}).account != of(**{TEAM: "x"}).account


@pytest.mark.parametrize("details", [{}, {"standard_logging_object": None}, {"standard_logging_object": {}}])
def test_events_without_metadata_have_no_caller(details: dict[str, Any]) -> None:
    """As in the SDK."""
    assert caller_of(details) == Caller("", "")


def test_what_is_kept_is_a_salted_hash() -> None:
    """The same secret under another salt is another caller; nothing stays nothing."""
    assert hashed("user u", b"salt") == hashed("user u", b"salt") != hashed("user u", b"other")
    assert "user u" not in hashed("user u", b"salt")
    assert hashed("", b"salt") == ""
