"""Models that are added, changed and deleted while the proxy runs, as LiteLLM does it with those in its database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openai
import pytest

from exacto_plugin.demo.behaviour import Act
from tests.support.proxy.model_table import ModelTable
from tests.support.proxy.observation import api, eventually, judged, verdict
from tests.support.proxy.openai_client import ask, asked, config, prices
from tests.support.proxy.proxy import deployment
from tests.support.proxy.questions import MESSAGES, TOOLS
from tests.support.proxy.tier_setup import seen_tiers

if TYPE_CHECKING:
    from exacto_plugin.demo.provider import SimulatedProviders
    from tests.e2e.conftest import StartProxy
    from tests.support.proxy.proxy import Proxy


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> ModelTable:
    """LiteLLM's table of models."""
    return ModelTable(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def proxy(provider_server: SimulatedProviders, start_proxy: StartProxy, table: ModelTable) -> Proxy:
    """One model group in the configuration; everything else comes and goes."""
    entries = [deployment(provider_server, "old", "base", **prices(2, 2))]
    made: dict[str, Any] = config(
        entries,
        router={"num_retries": 0, "disable_cooldowns": True},
        tiers={"recompute_interval_s": 0.3},
    )
    made["general_settings"] = {"cancel_on_disconnect": True}
    made["litellm_settings"]["callbacks"].append("tests.support.proxy.model_table.callback")
    return start_proxy(made, environment=table.environment)


def reconciled(proxy: Proxy) -> None:
    """LiteLLM has read its table: it does so with each request here, before it routes it."""
    ask(proxy, "old")


def test_a_new_deployment_is_a_peer(proxy: Proxy, providers: SimulatedProviders, table: ModelTable) -> None:
    """It may be asked at once, under every slug, and is compared from the next recompute on, asked or not."""
    reconciled(proxy)
    eventually(lambda: set(seen_tiers(proxy, "base")), {"old"})
    table.put(deployment(providers, "added", "base", **prices(1, 1)), deployment(providers, "late", "late-model"))
    reconciled(proxy)
    eventually(lambda: set(seen_tiers(proxy, "base")), {"old", "added"})
    assert asked(providers, ["added"]) == {"added": 0}
    assert ask(proxy, "base:floor").deployment == "added"
    late = ask(proxy, "late-model:floor", stream=True)
    assert (late.deployment, late.model, late.policy) == ("late", "late-model:floor", "price")
    eventually(lambda: seen_tiers(proxy, "late-model"), {"late": "insufficient_data"})
    eventually(lambda: judged(proxy, "base", "added"), (1, 0))


def test_a_changed_deployment_starts_anew(proxy: Proxy, providers: SimulatedProviders, table: ModelTable) -> None:
    """Behind another API base it is another one, without evidence; with another key it is the same."""
    providers.control.behave("turned", always=Act.INVALID_JSON)
    table.put(deployment(providers, "turned", "base", **prices(0.1, 0.1)))
    reconciled(proxy)
    for _ in range(3):
        assert ask(proxy, "base:floor").deployment == "turned"
    eventually(lambda: judged(proxy, "base", "turned"), (3, 3))
    table.put(deployment(providers, "turned", "base", api_key="sk-rotated", **prices(0.1, 0.1)))
    reconciled(proxy)
    assert ask(proxy, "base:floor").deployment == "turned"
    eventually(lambda: judged(proxy, "base", "turned"), (4, 4))
    (*_, last) = providers.control.seen("turned")
    assert last["headers"]["authorization"] == "Bearer sk-rotated"
    elsewhere = providers.api_base("good-now")
    table.put(deployment(providers, "turned", "base", api_base=elsewhere, **prices(0.1, 0.1)))
    reconciled(proxy)
    eventually(lambda: judged(proxy, "base", "turned"), (0, 0))
    assert ask(proxy, "base:floor").deployment == "turned"
    assert asked(providers, ["turned", "good-now"]) == {"turned": 4, "good-now": 1}


def test_a_deleted_deployment_vanishes(proxy: Proxy, providers: SimulatedProviders, table: ModelTable) -> None:
    """It is asked no more, listed no more, and a slug of a model that has gone is unknown again."""
    table.put(deployment(providers, "leaving", "base", **prices(0.05, 0.05)), deployment(providers, "last", "gone"))
    reconciled(proxy)
    assert ask(proxy, "gone:floor").deployment == "last"
    assert ask(proxy, "base:floor").deployment == "leaving"
    eventually(lambda: verdict(proxy, "base", "leaving") is not None, True)
    table.delete("leaving")
    table.delete("last")
    reconciled(proxy)
    assert ask(proxy, "base:floor").deployment != "leaving"
    eventually(lambda: verdict(proxy, "base", "leaving"), None)
    eventually(lambda: api(proxy, "models/gone").status_code, 404)
    for slug in ("gone", "gone:floor"):
        with pytest.raises(openai.BadRequestError):
            ask(proxy, slug)


def test_a_cancelled_request_is_nobodys_fault(proxy: Proxy, providers: SimulatedProviders, table: ModelTable) -> None:
    """With LiteLLM's ``cancel_on_disconnect`` an answer that nobody waits for never comes, and counts for nothing."""
    table.put(deployment(providers, "hanging", "patience"))
    reconciled(proxy)
    assert ask(proxy, "patience:exacto").deployment == "hanging"
    providers.control.behave("hanging", always=Act.HANG)
    with pytest.raises(openai.APITimeoutError):
        proxy.client(timeout=2.0).chat.completions.create(model="patience:exacto", messages=MESSAGES, tools=TOOLS)
    providers.control.behave("hanging", always=None)
    assert ask(proxy, "patience:exacto").deployment == "hanging"
    eventually(lambda: judged(proxy, "patience", "hanging"), (2, 0))
    known = verdict(proxy, "patience", "hanging")
    assert known is not None
    assert (known["flaws"], asked(providers, ["hanging"])) == ({}, {"hanging": 3})
    assert api(proxy, "status").json()["faults"] == {}
