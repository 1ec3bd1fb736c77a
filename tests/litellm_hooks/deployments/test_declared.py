"""What operators declare: weights as LiteLLM's shuffle takes them, limits as requests a minute, strategies."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import litellm
import pytest
from litellm.router_strategy.simple_shuffle import simple_shuffle

from exacto_plugin.core.model import DeploymentKey
from exacto_plugin.core.windows.token_usage import Tokens
from exacto_plugin.litellm_hooks.deployments.declared import (
    DeclaredDeployment,
    capacity_rpm,
    declared_limits,
    picks_by_weight,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

DRAWS = 4000


def peer(key: str, info: Mapping[str, Any] | None = None, **params: Any) -> DeclaredDeployment:
    """A deployment whose key is ``key``."""
    return DeclaredDeployment(
        DeploymentKey(key),
        {"litellm_params": {"model": "openai/m", **params}, "model_info": {"id": key, **(info or {})}},
    )


def nothing(_: str) -> None:
    """Nobody's average is known."""


@pytest.mark.parametrize(
    "params",
    [
        pytest.param([{}, {}, {}], id="nothing declared"),
        pytest.param([{"weight": 3}, {"weight": 1}, {}], id="one without a weight"),
        pytest.param([{"weight": 0.25}, {"weight": 0.25}, {"weight": 0.5}], id="fractions"),
        pytest.param([{"rpm": 30}, {"rpm": 10}, {"tpm": 9000}], id="rpm"),
        pytest.param([{"tpm": 3000}, {"tpm": 1000}, {}], id="tpm"),
        pytest.param([{"weight": 1, "rpm": 900}, {"weight": 3, "rpm": 1}, {"rpm": 5}], id="weight before rpm"),
        pytest.param([{"weight": 0}, {"weight": 0}, {"rpm": 5}], id="no weight at all"),
    ],
)
def test_weights_are_what_litellm_picks_by(params: list[dict[str, Any]]) -> None:
    """Shares as declared here equal the shares of LiteLLM's own shuffle."""
    peers = [peer(name, **each) for name, each in zip("abc", params, strict=True)]
    weights = declared_limits(peers, shuffled=True, tokens=nothing).weights
    deployments = [one.deployment for one in peers]
    picks = Counter(simple_shuffle(lambda _: None, deployments, "g", {})["model_info"]["id"] for _ in range(DRAWS))
    for name in "abc":
        expected = weights[DeploymentKey(name)] / sum(weights.values())
        assert picks[name] / DRAWS == pytest.approx(expected, abs=5 * math.sqrt(0.25 / DRAWS))
        assert (picks[name] == 0) == (expected == 0)


def test_other_strategies_pick_evenly() -> None:
    """What they prefer is no weight; two deployments with one key get two shares."""
    peers = [peer("a", weight=9), peer("b"), peer("b")]
    assert declared_limits(peers, shuffled=False, tokens=nothing).weights == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("routing", "shuffled"),
    [
        ({}, True),
        ({"routing_strategy": "latency-based-routing"}, False),
        ({"routing_strategy": "least-busy"}, False),
        ({"routing_groups": [{"group_name": "n", "models": ["g"], "routing_strategy": "least-busy"}]}, False),
        ({"routing_groups": [{"group_name": "n", "models": ["h"], "routing_strategy": "least-busy"}]}, True),
    ],
)
def test_the_strategy_of_a_model_group(routing: dict[str, Any], shuffled: bool) -> None:
    """The router's, or that of the routing group that the model group is in."""
    entries = [{"model_name": name, "litellm_params": {"model": "openai/m", "api_key": "k"}} for name in "gh"]
    assert picks_by_weight(litellm.Router(model_list=entries, **routing), "g") is shuffled


TOKENS = Tokens(300.0, 100.0)


@pytest.mark.parametrize(
    ("deployment", "tokens", "rpm"),
    [
        ({}, TOKENS, math.inf),
        ({"litellm_params": {"rpm": 60}}, None, 60.0),
        ({"litellm_params": {"rpm": 0}}, None, 0.0),
        ({"litellm_params": {"tpm": 8000}}, None, math.inf),
        ({"litellm_params": {"tpm": 8000}}, TOKENS, 20.0),
        ({"litellm_params": {"tpm": 8000, "rpm": 5}}, TOKENS, 5.0),
        ({"litellm_params": {"itpm": 3000}}, TOKENS, 10.0),
        ({"litellm_params": {"itpm": 3000, "otpm": 200}}, TOKENS, 2.0),
        ({"litellm_params": {"otpm": 200}}, Tokens(300.0, 0.0), math.inf),
        ({"model_info": {"rpm": 7}}, None, 7.0),
        ({"litellm_params": {"rpm": 60}, "model_info": {"rpm": 7}}, None, 60.0),
        ({"rpm": 3, "litellm_params": {"rpm": 60}}, None, 3.0),
        ({"litellm_params": {"rpm": "many"}, "model_info": None}, None, math.inf),
        ({"litellm_params": {"rpm": -1}}, None, math.inf),
        ({"litellm_params": {"rpm": 10**400}}, None, math.inf),
    ],
)
def test_limits_become_requests_a_minute(deployment: dict[str, Any], tokens: Tokens | None, rpm: float) -> None:
    """The narrowest limit counts; token limits only once it is known what a request takes."""
    assert capacity_rpm(deployment, tokens) == pytest.approx(rpm)


def test_deployments_with_one_key_add_up() -> None:
    """Two accounts at one provider carry twice as much; one without a limit makes the whole unlimited."""
    peers = [peer("a", rpm=10), peer("a", rpm=30), peer("b", rpm=10), peer("b"), peer("c", tpm=800)]
    said = declared_limits(peers, shuffled=True, tokens=lambda key: TOKENS if key == "c" else None)
    assert said.capacities == {"a": 40.0, "c": 2.0}
    assert said.weights == {"a": 40.0, "b": 10.0, "c": 0.0}
