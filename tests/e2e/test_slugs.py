"""Slugs through a real proxy: which names are understood, on which routes, and who may call them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openai
import pytest

from tests.support.proxy.observation import eventually
from tests.support.proxy.openai_client import ask, asked, bodies, config, error_of, post, prices
from tests.support.proxy.proxy import MASTER_KEY, Proxy, deployment
from tests.support.proxy.questions import MESSAGES, TOOLS

if TYPE_CHECKING:
    from exacto_plugin.demo.provider import SimulatedProviders
    from tests.e2e.conftest import StartProxy

KIMI = ("dear", "cheap", "unpriced")
KEYS: dict[str, dict[str, Any]] = {
    "sk-kimi": {"models": ["kimi"]},
    "sk-kimi-glm": {"models": ["kimi", "glm"]},
    "sk-team": {"team_id": "team-1", "team_models": [], "models": []},
    "sk-aliased": {"models": ["kimi"], "aliases": {"mine": "kimi"}},
    "sk-team-aliased": {"models": ["kimi"], "team_id": "team-2", "team_model_aliases": {"ours": "kimi"}},
    "sk-settings": {"models": ["kimi"], "router_settings": {"model_group_alias": {"theirs": "kimi"}}},
    "sk-capped": {"model_max_budget": {"kimi": {"budget_limit": 0.000001, "time_period": "1d"}}},
}


@pytest.fixture(scope="module")
def proxy(provider_server: SimulatedProviders, start_proxy: StartProxy) -> Proxy:
    """One group with three prices, and a group for every other way of being named."""

    def entry(provider: str, group: str = "kimi", **params: Any) -> dict[str, Any]:
        return deployment(provider_server, provider, group, **params)

    openrouter = {"model": "openrouter/*", "info": {"id": "via-openrouter"}}
    team = {"team_id": "team-1", "team_public_model_name": "house"}
    model_list = [
        entry("dear", **prices(2, 4)),
        entry("cheap", **prices(1, 1)),
        entry("unpriced"),
        entry("delta", "glm", **prices(1, 1)),
        entry("free", "kimi:free", **prices(0, 0)),
        entry("whole", "qwen:floor"),
        entry("wild", "wild/*", model="openai/*"),
        entry("routed", "openrouter/*", **openrouter),
        entry("team", "house-of-team-1", info={"id": "team", **team}),
    ]
    router = {"num_retries": 0, "model_group_alias": {"k2": "kimi"}, "disable_cooldowns": True}
    return start_proxy(config(model_list, router=router), keys=KEYS)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("slug", "policy"),
    [
        ("kimi", "auto"),
        ("kimi:exacto", "exacto"),
        ("kimi:floor", "price"),
        ("kimi:nitro", "throughput"),
        ("kimi:floor:exacto", "exacto"),
        ("kimi:exacto:floor", "price"),
        ("k2:floor", "price"),
        ("kimi:free", "auto"),
        ("kimi:free:nitro", "throughput"),
        ("kimi:nitro:free", "throughput"),
        ("qwen:floor", "auto"),
        ("qwen:floor:exacto", "exacto"),
        ("wild/any:exacto", "exacto"),
        ("wild/any:free:floor", "price"),
    ],
)
def test_slugs(proxy: Proxy, providers: SimulatedProviders, slug: str, policy: str, stream: bool) -> None:
    """A suffix names the policy; the answer carries the slug, the upstream gets a name without any of ours."""
    reply = ask(proxy, slug, stream=stream)
    assert reply.policy == policy
    assert reply.models == {slug}
    assert reply.headers["x-exacto-decision"]
    (body,) = bodies(providers, [*KIMI, "free", "whole", "wild"])
    assert body["model"] in {"kimi", "kimi:free", "qwen:floor", "any", "any:free"}
    assert body["tools"] == TOOLS


def test_floor_asks_the_cheapest(proxy: Proxy, providers: SimulatedProviders) -> None:
    """``:floor`` goes to the lowest price every time, also when ``:exacto`` stands before it."""
    for slug in ("kimi:floor", "kimi:exacto:floor", "k2:floor") * 2:
        assert ask(proxy, slug).deployment == "cheap"
    assert asked(providers, KIMI) == {"dear": 0, "cheap": 6, "unpriced": 0}


@pytest.mark.parametrize("slug", ["nope:exacto", "kimi:thinking", "kimi:exacto2", "nope:free:floor", ":exacto"])
def test_unknown_names_get_litellms_own_error(proxy: Proxy, providers: SimulatedProviders, slug: str) -> None:
    """A name that nobody serves is refused by LiteLLM in its own words, which name what the client sent."""
    errors = []
    for name in (slug, "no-such-model"):
        with pytest.raises(openai.BadRequestError) as raised:
            ask(proxy, name)
        errors.append({**error_of(raised.value), "name": name})
    ours, plain = errors
    assert slug in ours["message"]
    assert ours["message"].replace(slug, "no-such-model") == plain["message"]
    assert (ours["type"], ours["code"]) == (plain["type"], plain["code"])


def test_openrouters_own_names_go_on_whole(proxy: Proxy, providers: SimulatedProviders) -> None:
    """A wildcard that only leads to OpenRouter keeps the slug: OpenRouter understands it."""
    ask(proxy, "openrouter/moonshotai/kimi-k2:exacto")
    (body,) = bodies(providers, ["routed"])
    assert body["model"] == "moonshotai/kimi-k2:exacto"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_azure_paths(proxy: Proxy, providers: SimulatedProviders, stream: bool) -> None:
    """The model in an Azure path is a slug like any other."""
    azure = openai.AzureOpenAI(
        azure_endpoint=proxy.base_url,
        azure_deployment="kimi:floor",
        api_key=MASTER_KEY,
        api_version="2024-10-21",
        max_retries=0,
        default_headers={"Authorization": f"Bearer {MASTER_KEY}"},
    )
    with azure:
        create: Any = azure.chat.completions.with_raw_response.create
        raw = create(model="kimi:floor", messages=MESSAGES, stream=stream)
        names = {chunk.model for chunk in raw.parse()} if stream else {raw.parse().model}
    assert raw.headers["x-exacto-policy"] == "price"
    assert names == {"kimi:floor"}
    assert asked(providers, KIMI) == {"dear": 0, "cheap": 1, "unpriced": 0}


@pytest.mark.parametrize("path", ["/openai/deployments/{}/chat/completions", "/engines/{}/chat/completions"])
def test_path_models(proxy: Proxy, providers: SimulatedProviders, path: str) -> None:
    """A model in the path counts without one in the body, also when it holds a slash; unknown ones stay as they are."""
    body = {"messages": MESSAGES}
    for slug in ("kimi:floor", "wild/any:floor"):
        answer = post(proxy, path.format(slug), body)
        assert (answer.status_code, answer.headers.get("x-exacto-policy")) == (200, "price"), answer.text
        assert answer.json()["model"] == slug
    assert "nope:floor" in post(proxy, path.format("nope:floor"), body).text
    assert asked(providers, ["cheap", "wild"]) == {"cheap": 1, "wild": 1}


def test_other_surfaces(proxy: Proxy, providers: SimulatedProviders) -> None:
    """Text completions, embeddings, Responses, Messages and token counting take slugs too."""
    client = proxy.client()
    assert client.completions.create(model="kimi:floor", prompt="hello").model == "kimi:floor"
    assert client.embeddings.create(model="kimi:floor", input="hello").model == "kimi:floor"
    assert client.responses.create(model="kimi:floor", input="hello").model == "kimi:floor"
    with proxy.anthropic() as anthropic:
        answer = anthropic.messages.create(model="kimi:floor", max_tokens=9, messages=MESSAGES)
        assert answer.model == "kimi:floor"
    # From 1.108 on LiteLLM passes on that a provider has no such route; before, it estimated the number.
    counts = [post(proxy, "/v1/messages/count_tokens", {"model": name, "messages": MESSAGES})
              for name in ("kimi", "kimi:floor")]  # fmt: skip
    assert counts[0].text == counts[1].text
    assert "input_tokens" in counts[1].text or "Not Found" in counts[1].text
    assert asked(providers, KIMI) == {"dear": 0, "cheap": 4, "unpriced": 0}
    assert {seen["path"].rsplit("/v1/", 1)[1] for seen in providers.control.seen("cheap")} >= {
        "completions",
        "embeddings",
        "responses",
    }


def test_team_names(proxy: Proxy, providers: SimulatedProviders) -> None:
    """A team's public name takes suffixes for its own team; others are refused as they always were."""
    reply = ask(proxy, "house:floor", key="sk-team")
    assert (reply.policy, reply.model, reply.deployment) == ("price", "house:floor", "team")
    with pytest.raises(openai.APIStatusError):
        ask(proxy, "house:floor", key="sk-kimi")


@pytest.mark.parametrize(
    ("key", "alias"), [("sk-aliased", "mine"), ("sk-team-aliased", "ours"), ("sk-settings", "theirs")]
)
def test_aliases_of_keys_and_teams(proxy: Proxy, providers: SimulatedProviders, key: str, alias: str) -> None:
    """Names that only one key or team has take suffixes for that key or team, and for nobody else."""
    assert ask(proxy, alias, key=key).policy == "auto"
    reply = ask(proxy, f"{alias}:floor", key=key)
    assert (reply.policy, reply.deployment, reply.model) == ("price", "cheap", f"{alias}:floor")
    with pytest.raises(openai.APIStatusError) as raised:
        ask(proxy, f"{alias}:floor", key="sk-kimi")
    assert f"{alias}:floor" in error_of(raised.value)["message"]


def test_batches(proxy: Proxy, providers: SimulatedProviders) -> None:
    """LiteLLM's comma-separated form asks every model under its own suffix."""
    asked_for = "k2:floor, glm:exacto,qwen:floor"
    for _ in range(4):
        answer = post(proxy, "/v1/chat/completions", {"model": asked_for, "messages": MESSAGES, "tools": TOOLS})
        assert answer.status_code == 200, answer.text
        assert len(answer.json()) == 3
    assert asked(providers, [*KIMI, "delta", "whole"]) == {"dear": 0, "cheap": 4, "unpriced": 0, "delta": 4, "whole": 4}
    assert {body["model"] for body in bodies(providers, ["cheap", "delta", "whole"])} == {"kimi", "glm", "qwen:floor"}


def test_restricted_keys(proxy: Proxy, providers: SimulatedProviders) -> None:
    """A key that may call ``kimi`` may call it with any suffix, and no other model with any."""
    for slug in ("kimi", "kimi:exacto", "kimi:floor"):
        assert ask(proxy, slug, key="sk-kimi").model == slug
    for slug in ("glm", "glm:exacto", "kimi:free", "kimi:free:exacto"):
        with pytest.raises(openai.PermissionDeniedError):
            ask(proxy, slug, key="sk-kimi")


@pytest.mark.parametrize(
    "body",
    [
        {"models": ["glm:exacto"]},
        {"fallbacks": ["glm:exacto"]},
        {"fallbacks": [{"model": "glm:floor"}]},
        {"models": ["kimi", "glm"]},
    ],
    ids=str,
)
def test_fallback_entries_are_checked(proxy: Proxy, providers: SimulatedProviders, body: dict[str, Any]) -> None:
    """LiteLLM's own check refuses entries that the key may not call, and lets those pass that it may."""
    with pytest.raises(openai.PermissionDeniedError):
        ask(proxy, "kimi:exacto", key="sk-kimi", **body)
    assert asked(providers, [*KIMI, "delta"]) == dict.fromkeys([*KIMI, "delta"], 0)
    assert ask(proxy, "kimi:exacto", key="sk-kimi-glm", **body).model == "kimi:exacto"


def test_budgets_count_for_every_suffix(proxy: Proxy, providers: SimulatedProviders) -> None:
    """What was spent on ``kimi`` is spent for ``kimi:exacto``: a suffix opens no second purse."""
    assert ask(proxy, "kimi:floor", key="sk-capped").deployment == "cheap"

    def refused(slug: str) -> bool:
        try:
            ask(proxy, slug, key="sk-capped")
        except openai.APIStatusError as error:
            return "budget" in error_of(error)["message"].lower()
        return False

    eventually(lambda: refused("kimi:exacto"), True)  # LiteLLM counts what was spent after the answer
    assert all(refused(slug) for slug in ("kimi", "kimi:exacto", "kimi:floor"))
