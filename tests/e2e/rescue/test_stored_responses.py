"""Later turns that point to a rescued answer: they reach the deployment that made it, through any proxy."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from exacto_plugin.demo.behaviour import Act
from tests.support.proxy.openai_client import asked, bodies, config
from tests.support.proxy.proxy import Proxy, deployment
from tests.support.proxy.questions import TOOLS
from tests.support.proxy.rescue_groups import behave

if TYPE_CHECKING:
    from exacto_plugin.demo.provider import SimulatedProviders
    from tests.e2e.conftest import StartProxy

RESPONSES_TOOLS: list[Any] = [{"type": "function", **TOOLS[0]["function"]}]
GROUPS = {"stored": "openai/stored", "bridged": "deepinfra/bridged", "mixed": "openai/mixed"}
"""Groups whose providers store responses, none of which does, and one of which does."""
STREAM = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
PREAMBLE = "Let me look that up."


@pytest.fixture(scope="module")
def pair(provider_server: SimulatedProviders, start_proxy: StartProxy) -> tuple[Proxy, Proxy]:
    """Two proxies of the same deployments that know nothing of each other."""

    def entry(group: str, level: int) -> dict[str, Any]:
        model = "deepinfra/mixed" if (group, level) == ("mixed", 2) else GROUPS[group]
        return deployment(provider_server, f"{group}-{level}", group, model=model, order=level)

    models = [entry(group, level) for group in GROUPS for level in (1, 2)]
    models += [deployment(provider_server, f"free-{level}", "free") for level in (1, 2, 3, 4)]
    models += [
        deployment(provider_server, f"loose-{level}", "loose", model="deepinfra/loose") for level in (1, 2, 3, 4)
    ]
    rescue = {"enabled": True, "streams": True, "max_attempts": 3}
    settings = config(models, router={"num_retries": 0}, rescue=rescue, exploration={"share": 0})
    return start_proxy(settings), start_proxy(settings)


class Talk:
    """A conversation of ``@ai-sdk/openai``: what was said is sent as pointers, and calls as they were."""

    def __init__(self, group: str, names: tuple[str, ...], providers: SimulatedProviders, about: str) -> None:
        self.items: list[Any] = [{"role": "user", "content": [{"type": "input_text", "text": about}]}]
        self.id = ""
        self._group, self._names, self._providers = group, names, providers

    def turn(self, proxy: Proxy, *, stream: bool = False, previous: bool = False) -> tuple[str, str]:
        """One turn: who was asked last, and the arguments of the call."""
        before = asked(self._providers, self._names)
        more = {"previous_response_id": self.id, "input": "Go on."} if previous else {"input": self.items}
        body = {"model": self._group, "tools": RESPONSES_TOOLS, **more}
        if stream:
            helper: Any = proxy.client().responses.stream
            with helper(**body) as events:
                answer = events.get_final_response()
        else:
            create: Any = proxy.client().responses.create
            answer = create(**body)
        self.id = answer.id
        after = asked(self._providers, self._names)
        self.asked = {name for name in self._names if after[name] > before[name]}
        call = self._continue(answer)
        good = [name for name in self.asked if self._providers.control.state(name)["behaviour"]["always"] == "valid"]
        return good[0] if good else "", call

    def _continue(self, answer: Any) -> str:
        call = ""
        for item in answer.output:
            if item.type == "message":
                self.items.append({"type": "item_reference", "id": item.id})
            else:
                call = item.arguments
                told = {"call_id": item.call_id, "name": item.name, "arguments": item.arguments}
                self.items.append({"type": "function_call", **told})
                self.items.append({"type": "function_call_output", "call_id": item.call_id, "output": "sunny"})
        return call


def _good(call: str) -> bool:
    try:
        return set(json.loads(call)) == {"city", "days"}
    except ValueError:
        return False


@pytest.mark.parametrize("elsewhere", [False, True], ids=["same proxy", "another proxy"])
@pytest.mark.parametrize(
    ("previous", "stream"),
    [(True, False), (True, True), (False, False)],  # a stored response whose text was streamed is not replaced
    ids=["previous_response_id", "previous_response_id-streamed", "item_reference"],
)
def test_the_next_turn_reaches_the_rescuer(
    pair: tuple[Proxy, Proxy], providers: SimulatedProviders, previous: bool, elsewhere: bool, stream: bool
) -> None:
    """And the turns after it; the provider gets the ids that are its own."""
    names = ("stored-1", "stored-2")
    behave(providers, "stored", Act.INVALID_JSON, preamble=None if previous else PREAMBLE)
    talk = Talk("stored", names, providers, f"{previous} {elsewhere} {stream}")
    _, call = talk.turn(pair[0], stream=stream)
    assert _good(call)
    assert talk.asked == {"stored-1", "stored-2"}
    behave(providers, "stored", Act.VALID)
    for _ in range(3):
        talk.turn(pair[int(elsewhere)], stream=stream, previous=previous)
        assert talk.asked == {"stored-2"}
    sent = bodies(providers, ["stored-2"])[-1]
    if previous:
        assert sent["previous_response_id"].startswith("resp_")
        assert len(sent["previous_response_id"]) == len("resp_") + 24
    else:
        pointers = [item["id"] for item in sent["input"] if item.get("type") == "item_reference"]
        assert pointers
        assert all(pointer.startswith("msg_") for pointer in pointers), pointers


def test_a_rescued_conversation_goes_on_where_its_answer_is(
    pair: tuple[Proxy, Proxy], providers: SimulatedProviders
) -> None:
    """Among four deployments without an order, also for a client that keeps only its messages."""
    names = tuple(f"free-{level}" for level in (1, 2, 3, 4))
    for number in range(6):
        for name in names:
            providers.control.behave(name, always=Act.VALID)
        talk = Talk("free", names, providers, f"free {number}")
        talk.turn(pair[0])
        (first,) = talk.asked
        providers.control.behave(first, always=Act.INVALID_JSON)
        rescuer, call = talk.turn(pair[0])
        assert _good(call)
        assert talk.asked == {first, rescuer}
        providers.control.behave(first, always=Act.VALID)
        assert [talk.turn(pair[0])[0] for _ in range(2)] == [rescuer] * 2


@STREAM
@pytest.mark.parametrize("previous", [True, False], ids=["previous_response_id", "item_reference"])
def test_rescue_in_every_turn_where_nothing_is_stored(
    pair: tuple[Proxy, Proxy], providers: SimulatedProviders, previous: bool, stream: bool
) -> None:
    """LiteLLM translates to chat completions: no pointer binds a turn, and text that was sent does not either."""
    names = ("bridged-1", "bridged-2")
    behave(providers, "bridged", Act.INVALID_JSON, preamble=PREAMBLE)
    talk = Talk("bridged", names, providers, f"bridged {previous} {stream}")
    for _ in range(3):
        _, call = talk.turn(pair[0], stream=stream, previous=previous and bool(talk.id))
        assert _good(call), talk.items
        assert talk.asked == {"bridged-1", "bridged-2"}


@pytest.mark.parametrize("group", ["stored", "mixed"])
def test_no_rescue_where_a_provider_stores(
    pair: tuple[Proxy, Proxy], providers: SimulatedProviders, group: str
) -> None:
    """No other deployment knows what the pointer is about."""
    names = (f"{group}-1", f"{group}-2")
    behave(providers, group, Act.VALID, preamble=PREAMBLE)
    talk = Talk(group, names, providers, f"kept {group}")
    talk.turn(pair[0])
    behave(providers, group, Act.INVALID_JSON, preamble=PREAMBLE)
    _, call = talk.turn(pair[0])
    assert not _good(call)
    assert talk.asked == {f"{group}-1"}


def test_a_conversation_stays_without_being_bound(pair: tuple[Proxy, Proxy], providers: SimulatedProviders) -> None:
    """Where nothing is stored the id of the answer still tells where the conversation was, and may be left."""
    names = tuple(f"loose-{level}" for level in (1, 2, 3, 4))
    for name in names:
        providers.control.behave(name, always=Act.VALID)
    for number in range(6):
        talk = Talk("loose", names, providers, f"loose {number}")
        home, _ = talk.turn(pair[0])
        assert [talk.turn(pair[number % 2], previous=True)[0] for _ in range(3)] == [home] * 3
    providers.control.behave(home, always=Act.INVALID_JSON)
    moved, call = talk.turn(pair[0], previous=True)
    assert _good(call)
    assert moved != home
