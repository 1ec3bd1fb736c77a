"""Pass-through endpoints forward what the client sent, however their paths end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.proxy.proxy import CALLBACK, Proxy, deployment
from tests.support.proxy.questions import MESSAGES

if TYPE_CHECKING:
    from exacto_plugin.demo.provider import SimulatedProviders
    from tests.e2e.conftest import StartProxy

PATH = "/pt/chat/completions"
BODY = {"model": "kimi:exacto", "models": ["kimi", "glm"], "provider": {"only": ["x"]}, "messages": MESSAGES}


@pytest.fixture(scope="module")
def proxy(provider_server: SimulatedProviders, start_proxy: StartProxy) -> Proxy:
    """An endpoint of the operator's beside a model group of the same name as in its bodies."""
    target = f"{provider_server.api_base('forwarded')}/chat/completions"
    config: dict[str, Any] = {
        "model_list": [deployment(provider_server, "routed", "kimi")],
        "litellm_settings": {"callbacks": [CALLBACK]},
        "general_settings": {
            "pass_through_endpoints": [{"path": PATH, "target": target, "headers": {"Authorization": "Bearer sk-x"}}]
        },
        "exacto_settings": {},
    }
    return start_proxy(config)


def test_a_body_is_forwarded_as_it_is(proxy: Proxy, providers: SimulatedProviders) -> None:
    """Suffix, list of models and provider object reach the API behind the endpoint; its model name comes back."""
    answer = proxy.request("POST", PATH, json=BODY)
    assert answer.status_code == 200, answer.text
    (seen,) = providers.control.seen("forwarded")
    assert {key: seen["body"].get(key) for key in BODY} == BODY
    assert not [name for name in answer.headers if name.startswith("x-exacto")]


def test_the_same_body_is_read_on_a_model_route(proxy: Proxy, providers: SimulatedProviders) -> None:
    """There the suffix is the plugin's."""
    answer = proxy.request("POST", "/v1/chat/completions", json={"model": "kimi:exacto", "messages": MESSAGES})
    assert answer.status_code == 200, answer.text
    (seen,) = providers.control.seen("routed")
    assert seen["body"]["model"] == "kimi"
    assert answer.headers["x-exacto-policy"] == "exacto"
