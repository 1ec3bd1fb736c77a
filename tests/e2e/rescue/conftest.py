"""One proxy for all tests of rescue, and what they look at: what answers cost, and what went wrong inside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.conftest import starting
from tests.support.proxy.observation import Probe
from tests.support.proxy.proxy import CALLBACK, Proxy, deployment
from tests.support.proxy.rescue_groups import EXTRA_S, GROUPS, STREAMED
from tests.support.proxy.spend_log import FILE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from exacto_plugin.demo.provider import SimulatedProviders

PRICES: dict[str, Any] = {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6}


@pytest.fixture(scope="package")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Probe:
    """The probe inside the proxy."""
    return Probe(tmp_path_factory.mktemp("probe"))


@pytest.fixture(scope="package")
def spending(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the proxy writes what answers cost."""
    file = tmp_path_factory.mktemp("spending") / "spending.jsonl"
    file.touch()
    return file


@pytest.fixture(scope="package")
def proxy(
    provider_server: SimulatedProviders, tmp_path_factory: pytest.TempPathFactory, probe: Probe, spending: Path
) -> Iterator[Proxy]:
    """Two deployments in each group: the operator's ``order`` says who is asked first and who may rescue."""
    models = {**dict.fromkeys(GROUPS, ""), **STREAMED}
    ordered = [
        deployment(provider_server, f"{group}-{level}", group, **_spoken(provider_server, f"{group}-{level}", model),
                   order=level, **PRICES)
        for group, model in models.items()
        for level in (1, 2)
    ]  # fmt: skip
    priced = [
        deployment(provider_server, f"priced-{level}", "priced", input_cost_per_token=level * 1e-6,
                   output_cost_per_token=level * 1e-6)
        for level in (1, 2, 3)
    ]  # fmt: skip
    listed = [deployment(provider_server, f"listed-{level}", "listed") for level in (1, 2)]
    config = {
        "model_list": [*ordered, *priced, *listed],
        "router_settings": {"num_retries": 0},
        "litellm_settings": {"callbacks": [CALLBACK, "tests.support.proxy.spend_log.recorder"]},
        "exacto_settings": {
            "rescue": {"enabled": True, "streams": True, "max_extra_seconds": EXTRA_S},
            "tiers": {"recompute_interval_s": 0.5},
            "exploration": {"share": 0},
            "curated": {"listed": ["listed-1"]},
            "model_groups": {"off": {"mode": "off"}, "observed": {"mode": "observe"}},
        },
    }
    with starting(tmp_path_factory) as start:
        yield start(config, keys={}, environment={**probe.environment, FILE: str(spending)})


def _spoken(providers: SimulatedProviders, name: str, model: str) -> dict[str, Any]:
    """The parameters of a provider that LiteLLM speaks to in another way than to OpenAI's."""
    if not model:
        return {}
    base = providers.api_base(name)
    return {"model": model, "api_base": base.removesuffix("/v1") if model.startswith("anthropic/") else base}


@pytest.fixture(autouse=True)
def _no_faults(probe: Probe, proxy: Proxy) -> Iterator[None]:
    """Nothing of ours fails on the way."""
    yield
    assert probe.metric("exacto_plugin_errors_total") == {}
