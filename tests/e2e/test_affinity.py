"""Conversations through a real proxy: they stay where their prompt cache is, and leave only where they must."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.proxy.observation import PATIENCE_S, TRIES
from tests.support.proxy.openai_client import asked, config, post, prices
from tests.support.proxy.proxy import CALLBACK, MASTER_KEY, Proxy, deployment
from tests.support.proxy.questions import PARAMETERS, TOOLS
from tests.support.proxy.tier_setup import BAD, DERANKED, GOOD, NEW, QUICK, bring_about, fleet, names, seen_tiers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import httpx

    from exacto_plugin.demo.provider import SimulatedProviders
    from tests.e2e.conftest import StartProxy

KEYS: dict[str, dict[str, Any]] = {"sk-one": {}, "sk-two": {}}
KIMI = ("a", "b", "c", "d")
PRICED = ("priced-1", "priced-2")
COOLED = tuple(f"cooled-{name}" for name in KIMI)
RELEASED = tuple(f"released-{number}" for number in range(24))
"""Of a group whose deployments call tools badly, and so come to have verdicts, which no other test is to see."""
COOLDOWN_S = 3.0
CONVERSATIONS = 12
"""Chance puts all of them on one of four deployments once in 4 million runs."""
FLAT_TOOLS = [{"type": "function", "name": "get_weather", "parameters": PARAMETERS}]
ANTHROPIC_TOOLS = [{"name": "get_weather", "input_schema": PARAMETERS}]
_NUMBERS = itertools.count()


def subject() -> str:
    """What no other conversation is about."""
    return f"conversation {next(_NUMBERS)}"


class Talk:
    """One conversation over one API surface; turn by turn with everything said before."""

    def __init__(
        self,
        proxy: Proxy,
        providers: SimulatedProviders,
        where: Sequence[str] = KIMI,
        group: str = "kimi",
        *,
        about: str = "",
        path: str = "/v1/chat/completions",
        key: str = MASTER_KEY,
        **more: Any,
    ) -> None:
        self._proxy, self._providers, self._where, self._key = proxy, providers, where, key
        self._path = path
        begun = {"role": "user", "content": about or subject()}
        tools: Mapping[str, Any] = {"/v1/responses": FLAT_TOOLS, "/v1/messages": ANTHROPIC_TOOLS}
        self._said: list[Any] = [begun]
        self._body = {"model": group, "tools": tools.get(path, TOOLS), **more}
        if path == "/v1/messages":
            self._body["max_tokens"] = 50

    def ask(self, **more: Any) -> httpx.Response:
        """One turn as it is, with nothing about who answered."""
        said = {"input" if self._path == "/v1/responses" else "messages": self._said}
        answer = post(self._proxy, self._path, {**self._body, **said, **more}, self._key)
        self._said = [*self._said, {"role": "assistant", "content": "So?"}, {"role": "user", "content": "Go on."}]
        return answer

    def turn(self, **more: Any) -> str:
        """One turn; the name of the provider that was asked last, which is the one that answered."""
        before = asked(self._providers, self._where)
        answer = self.ask(**more)
        assert answer.status_code == 200, answer.text
        after = asked(self._providers, self._where)
        served = [name for name in self._where if after[name] > before[name]]
        self.asked = served
        done = [name for name in served if self._providers.control.state(name)["behaviour"]["always"] is None]
        assert len(done) == 1, (served, done)
        return done[0]

    def turns(self, number: int, **more: Any) -> set[str]:
        """Where some turns went."""
        return {self.turn(**more) for _ in range(number)}


def _model_list(server: SimulatedProviders) -> list[dict[str, Any]]:
    return [
        *(deployment(server, name) for name in KIMI),
        *(deployment(server, f"watched-{name}", "watched") for name in KIMI),
        *(deployment(server, name, "cooled") for name in COOLED),
        *(deployment(server, name, "released") for name in RELEASED),
        *fleet(server, "tiered"),
        *fleet(server, "soft"),
        *fleet(server, "sealed"),
        *(deployment(server, f"priced-{n}", "priced", **prices(n, n)) for n in (1, 2)),
        *(
            deployment(server, f"full-{name}", "full", **prices(1, 1), cache_read_input_token_cost=1e-6)
            for name in KIMI
        ),
    ]


@pytest.fixture(scope="module")
def running(provider_server: SimulatedProviders, start_proxy: StartProxy) -> Proxy:
    """Groups with and without verdicts."""
    router = {"num_retries": 2, "cooldown_time": COOLDOWN_S}
    settings = {"tiers": QUICK, "model_groups": {"watched": {"mode": "observe"}}}
    proxy = start_proxy(config(_model_list(provider_server), router=router, **settings), keys=KEYS)
    bring_about(proxy, provider_server, ["tiered", "sealed"])
    return proxy


@pytest.fixture
def proxy(running: Proxy, providers: SimulatedProviders) -> Proxy:
    """The proxy, with providers that do not use tools, so that no verdict comes about but on purpose."""
    for name in (*KIMI, *COOLED, *RELEASED, *names("soft"), *PRICED):
        providers.control.behave(name, propensity=0.0)
    return running


def talk_at(name: str, proxy: Proxy, providers: SimulatedProviders, where: Sequence[str], group: str) -> Talk:
    """A conversation that has begun at a certain deployment, which may be cooling down before."""
    ends, tries = time.monotonic() + PATIENCE_S, itertools.count()
    while (talk := Talk(proxy, providers, where, group)).turn() != name:
        assert next(tries) < TRIES or time.monotonic() < ends, f"nothing begins at {name}"
    return talk


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/messages"])
def test_conversations_stay(proxy: Proxy, providers: SimulatedProviders, path: str, stream: bool) -> None:
    """Each conversation has one deployment, and together they have several."""
    places = []
    for _ in range(CONVERSATIONS):
        (place,) = Talk(proxy, providers, path=path, stream=stream).turns(3)
        places.append(place)
    assert len(set(places)) > 1


@pytest.mark.parametrize("named_by", ["session_id", "prompt_cache_key", "header", "text"])
def test_a_conversation_is_one_across_surfaces(proxy: Proxy, providers: SimulatedProviders, named_by: str) -> None:
    """The same conversation over chat, Responses and Messages: by the client's name for it, or by its beginning."""
    places: list[str] = []
    for _ in range(CONVERSATIONS):
        about = subject()
        more = {named_by: about} if named_by in ("session_id", "prompt_cache_key") else {}
        turns = set()
        for path in ("/v1/chat/completions", "/v1/messages", "/v1/responses"):
            talk = Talk(proxy, providers, path=path, about=about if named_by == "text" else "", **more)
            if named_by == "header":
                turns.add(_with_header(proxy, providers, talk, about))
            else:
                turns.add(talk.turn())
        assert len(turns) == 1, turns
        places += turns
    assert len(set(places)) > 1


def _with_header(proxy: Proxy, providers: SimulatedProviders, talk: Talk, name: str) -> str:
    before = asked(providers, KIMI)
    body = {**talk._body, "input" if talk._path == "/v1/responses" else "messages": talk._said}
    answer = proxy.request("POST", talk._path, json=body, headers={"x-session-id": name})
    assert answer.status_code == 200, answer.text
    (place,) = (one for one, count in asked(providers, KIMI).items() if count > before[one])
    return place


def test_two_keys_do_not_share(proxy: Proxy, providers: SimulatedProviders) -> None:
    """The same words under another key are another conversation."""
    pairs = []
    for _ in range(CONVERSATIONS):
        about = subject()
        one, two = (Talk(proxy, providers, about=about, key=key) for key in KEYS)
        places = [one.turn(), two.turn(), one.turn(), two.turn()]
        assert places[:2] == places[2:]
        pairs.append(places[:2])
    assert any(one != two for one, two in pairs)


def test_a_failing_deployment_is_left_for_good(proxy: Proxy, providers: SimulatedProviders) -> None:
    """One turn is retried elsewhere; the conversation stays there also when the old place is well again."""
    talk = Talk(proxy, providers)
    (old,) = talk.turns(2)
    providers.control.behave(old, always=500)
    new = talk.turn()
    assert old in talk.asked
    providers.control.behave(old, always=None)
    assert new != old
    assert talk.turns(4) == {new}


def test_a_bad_call_of_one_not_verified_sets_free(proxy: Proxy, providers: SimulatedProviders) -> None:
    """The conversation may begin anew, wherever that is; without the bad call it would stay."""
    moved: set[str] = set()
    for _ in range(6):  # chance begins all of them anew where they were less than once in 7 million runs
        talk = Talk(proxy, providers, RELEASED, "released")
        (old,) = talk.turns(2)
        providers.control.behave(old, propensity=1.0, error_rate=1.0)
        talk.turn()
        providers.control.behave(old, propensity=0.0, error_rate=0.0)
        moved |= talk.turns(3) - {old}
    assert moved


def test_a_cooling_deployment_is_left_for_good(proxy: Proxy, providers: SimulatedProviders) -> None:
    """While it cools down the turn goes elsewhere without asking it, and the conversation stays there afterwards."""
    for _ in range(5):
        talk = Talk(proxy, providers, COOLED, "cooled")
        (old,) = talk.turns(2)
        begun = time.monotonic()
        cool_down(proxy, providers, old, group="cooled")
        new = talk.turn()
        if time.monotonic() - begun < COOLDOWN_S:
            break  # on a machine that is slower the cooldown may have ended by then
    assert new != old
    talk_at(old, proxy, providers, COOLED, "cooled")  # new conversations go there again
    assert talk.turns(4) == {new}


def cool_down(proxy: Proxy, providers: SimulatedProviders, name: str, *, group: str) -> None:
    """Let LiteLLM find out that a deployment is over its limit."""
    providers.control.behave(name, always=429)
    before = providers.control.requests(name)
    while providers.control.requests(name) == before:
        post(proxy, "/v1/chat/completions", {"model": group, "messages": [{"role": "user", "content": subject()}]})
    providers.control.behave(name, always=None)


def test_a_deranked_deployment_is_left_for_good(proxy: Proxy, providers: SimulatedProviders) -> None:
    """The conversation goes to a verified one and stays with it."""
    where = names("soft")
    talk = talk_at(f"soft-{BAD}", proxy, providers, where, "soft")
    newcomer = talk_at(f"soft-{NEW}", proxy, providers, where, "soft")
    providers.control.reset()
    bring_about(proxy, providers, ["soft"])
    (new,) = talk.turns(3)
    assert new in names("soft", *GOOD)
    # A soft verdict moves new conversations only.
    assert newcomer.turns(3) == {f"soft-{NEW}"}


def test_observed_only(proxy: Proxy, providers: SimulatedProviders) -> None:
    """``mode: observe`` applies none of it."""
    talk = Talk(proxy, providers, tuple(f"watched-{name}" for name in KIMI), "watched")
    assert len(talk.turns(16)) > 1


def test_an_explicit_sort_is_stronger(proxy: Proxy, providers: SimulatedProviders) -> None:
    """Whoever asks for the cheapest gets the cheapest, also in the middle of a conversation."""
    talk = talk_at("priced-2", proxy, providers, PRICED, "priced")
    assert talk.turn(model="priced:floor") == "priced-1"
    other = Talk(proxy, providers, PRICED, "priced")
    assert other.turns(2, provider={"sort": "price"}) == {"priced-1"}


def test_where_a_cached_prompt_costs_as_much(proxy: Proxy, providers: SimulatedProviders) -> None:
    """Nobody stays where there is nothing to save."""
    talk = Talk(proxy, providers, tuple(f"full-{name}" for name in KIMI), "full")
    assert len(talk.turns(16)) > 1


# --- what only one deployment can read --------------------------------------------------------------------------------


def test_a_stored_response_is_never_moved(proxy: Proxy, providers: SimulatedProviders) -> None:
    """Neither by a verdict nor by a sort nor by a cooldown: then the client is told to wait."""
    where = names("sealed")
    bad = f"sealed-{BAD}"
    begun = post(proxy, "/v1/responses", {"model": bad, "input": subject()})
    assert begun.status_code == 200, begun.text
    follow = {"model": "sealed", "previous_response_id": begun.json()["id"], "tools": FLAT_TOOLS}
    assert seen_tiers(proxy, "sealed")[bad] == DERANKED
    for slug in ("sealed", "sealed:floor", "sealed:exacto"):
        before = asked(providers, where)
        answer = post(proxy, "/v1/responses", {**follow, "model": slug, "input": subject()})
        assert answer.status_code == 200, answer.text
        assert asked(providers, where) == {**before, bad: before[bad] + 1}
    providers.control.behave(bad, next=[429, 429, 429, 429])
    before = asked(providers, where)
    answers = [post(proxy, "/v1/responses", {**follow, "input": subject()}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [429, 429]
    assert int(answers[1].headers["retry-after"]) >= 1
    assert answers[1].json()["error"]["type"] == "exacto_no_endpoints"
    others = {name: count for name, count in asked(providers, where).items() if name != bad}
    assert others == {name: before[name] for name in others}


SEALED = {
    "/v1/responses": {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAAsealed"},
    "/v1/chat/completions": {
        "role": "assistant",
        "content": "Hm.",
        "reasoning_details": [{"type": "reasoning.encrypted", "data": "gAAAAsealed"}],
    },
}


@pytest.mark.parametrize("path", SEALED)
def test_encrypted_reasoning_is_never_moved(proxy: Proxy, providers: SimulatedProviders, path: str) -> None:
    """A conversation that goes on with it stays at a deployment that fails, and is not retried elsewhere."""
    talk = Talk(proxy, providers, path=path)
    (old,) = talk.turns(2)
    talk._said.insert(1, SEALED[path])
    providers.control.behave(old, next=[500])
    assert talk.turn() == old
    assert talk.asked == [old]
    assert talk.turns(2) == {old}


# --- LiteLLM's own affinity -------------------------------------------------------------------------------------------

CHECKS = ["deployment_affinity", "session_affinity", "responses_api_deployment_check", "encrypted_content_affinity"]


@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_beside_litellms_own_checks(
    provider_server: SimulatedProviders, start_proxy: StartProxy, providers: SimulatedProviders, first: str
) -> None:
    """Conversations stay in either order of the callbacks, and a curated list finds more than the last deployment."""
    model_list = [deployment(provider_server, name) for name in KIMI]
    router = {"num_retries": 2, "optional_pre_call_checks": CHECKS}
    settings = config(model_list, router=router, tiers=QUICK, curated={"kimi": ["d"]})
    if first == "ours":
        assert settings["litellm_settings"]["callbacks"] == [CALLBACK]
        proxy = start_proxy(settings, keys=KEYS)
    else:
        del settings["litellm_settings"]
        proxy = start_proxy(settings, keys=KEYS, server="asgi")
    for key in KEYS:
        (place,) = Talk(proxy, providers, key=key).turns(3)
        assert Talk(proxy, providers, key=key, group="kimi:exacto").turns(2) == {"d"}
        if place != "d":
            providers.control.behave(place, always=500)
            moved = Talk(proxy, providers, key=key, group="kimi:exacto")
            assert moved.turns(2) == {"d"}
            providers.control.behave(place, always=None)
    stored = post(proxy, "/v1/responses", {"model": "kimi", "input": subject()}).json()["id"]
    before = asked(providers, KIMI)
    for _ in range(3):
        more = {"previous_response_id": stored, "input": subject()}
        assert post(proxy, "/v1/responses", {"model": "kimi", **more}).status_code == 200
    after = asked(providers, KIMI)
    assert sorted(after[name] - before[name] for name in KIMI) == [0, 0, 0, 3]
