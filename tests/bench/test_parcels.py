"""The parcel service: its requests, their right ends, and the simulated providers that answer them."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from exacto_plugin.bench.parcels.parcel_world import ACTIONS, REQUESTS, Request, end_of, start
from exacto_plugin.bench.parcels.simulated import SimulatedParcelModels, Skill

FORBIDDEN = {"hold-too-long", "too-late", "no-locker", "no-claim"}


def ask(base: str, messages: list[dict[str, Any]]) -> httpx.Response:
    """One request to a provider."""
    body = {"model": "m", "messages": messages}
    return httpx.post(f"{base}/chat/completions", json=body, trust_env=False, verify=False)


def talk(base: str, request: Request) -> bool:
    """Have a conversation as Inspect does, and return whether the records end as they should."""
    world, messages = start(), [{"role": "system", "content": "r"}, {"role": "user", "content": request.text}]
    while True:
        message = ask(base, messages).json()["choices"][0]["message"]
        messages.append(message)
        if "tool_calls" not in message:
            return world == end_of(request)
        for call in message["tool_calls"]:
            arguments = json.loads(call["function"]["arguments"])
            told = ACTIONS[call["function"]["name"]](world, **arguments)
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": str(told)})


def test_only_what_the_rules_forbid_changes_nothing() -> None:
    """A dozen requests with different names and texts."""
    assert len({one.text for one in REQUESTS}) == len({one.name for one in REQUESTS}) == 12
    assert {one.name for one in REQUESTS if end_of(one) == start()} == FORBIDDEN


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda one: one.name)
def test_golden_actions_find_what_they_name(request_: Request) -> None:
    """No action is about a parcel or a locker that does not exist."""
    world = start()
    for name, arguments in request_.golden:
        told = ACTIONS[name](world, **arguments)
        assert told == "done" or (told and not isinstance(told, str))


def test_what_does_not_exist_is_said() -> None:
    """And nothing changes."""
    world = start()
    assert ACTIONS["get_parcel"](world, parcel="P9") == "there is no parcel P9"
    assert ACTIONS["hold"](world, parcel="P9", until="2026-03-03") == "there is no parcel P9"
    assert ACTIONS["use_locker"](world, parcel="P101", locker="L9") == "there is no locker L9"
    assert world == start()


def test_providers_are_as_right_as_they_are_set() -> None:
    """Always, never, or in a share of the conversations; and a failing one fails from a request on."""
    skills = {"good": Skill(), "bad": Skill(wrong=1.0), "weak": Skill(wrong=0.4), "dead": Skill(down=1.0, after=2)}
    with SimulatedParcelModels(skills) as models:
        right = {name: [talk(models.api_base(name), one) for one in REQUESTS] for name in ("good", "bad")}
        weak = sum(talk(models.api_base("weak"), one) for one in REQUESTS * 4)
        first = [{"role": "user", "content": "hello"}]
        statuses = [ask(models.api_base("dead"), first).status_code for _ in range(4)]
    assert right == {"good": [True] * 12, "bad": [False] * 12}
    assert 20 <= weak <= 38  # of 48, with 0.6 expected
    assert statuses == [200, 200, 503, 503]
