"""The deployments that the clients work with: for each model group two good ones and a bad one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tests.support.proxy.proxy import CALLBACK

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.clients.provider import TruthfulProviders

BAD_RATE: Final = 0.4
"""Of the third deployment of each group: a tenth of all answers with calls, as some kinds fit only some tools."""


_FEW: Final = {"phi_start": 1.0, "good_calls": 15, "peer_calls": 10}
"""Numbers of the rule for a run of minutes instead of days."""


@dataclass(frozen=True, slots=True)
class Group:
    """A model group.

    Args:
        name: its public name. Clients know some names, and send other requests to them.
        client: claude or codex.
        provider: LiteLLM's name of it, which decides the API that is called.
    """

    name: str
    client: str
    provider: str

    @property
    def rates(self) -> dict[str, float]:
        """Share of bad answers by deployment."""
        return {f"{self.name}-good1": 0.0, f"{self.name}-good2": 0.0, f"{self.name}-bad": BAD_RATE}


GROUPS: Final = (
    Group("claude-sonnet-4-5", "claude", "hosted_vllm"),
    Group("claude-haiku-4-5", "claude", "anthropic"),
    Group("claude-opus-4-5", "claude", "openai"),
    Group("codex-responses", "codex", "openai"),
    Group("codex-chat", "codex", "together_ai"),
    Group("codex-messages", "codex", "anthropic"),
    Group("gpt-5.5", "codex", "openai"),
    Group("gpt-6-sol", "codex", "openai"),
)
"""Claude Code demands its web search by ``tool_choice`` of models that it knows.
Codex sends ``gpt-5.5`` a tool search and ``apply_patch`` as text, and ``gpt-6-sol`` all tools as one item."""


SDK_GROUPS: Final = (
    Group("sdk-chat", "sdk", "together_ai"),
    Group("sdk-responses", "sdk", "openai"),
    Group("sdk-messages", "sdk", "anthropic"),
)
"""Of the AI SDK, for the comparison with LiteLLM alone."""


def compared_configs(providers: TruthfulProviders) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return two proxies' configurations with the same good deployments: LiteLLM alone, and with rescue.

    Args:
        providers: behind the deployments.
    """
    entries = [
        _entry(group, deployment, providers.api_base(deployment))
        for group in (*GROUPS, *SDK_GROUPS)
        for deployment in group.rates
        if deployment.rpartition("-")[2] != "bad"
    ]
    bare = {"model_list": entries, "litellm_settings": {"drop_params": True}}
    rescue = {"rescue": {"enabled": True, "streams": True, "same_deployment": True}}
    plugin = {"callbacks": [CALLBACK], "drop_params": True}
    return bare, {**bare, "litellm_settings": plugin, "exacto_settings": rescue}


def rates() -> dict[str, float]:
    """Return the share of bad answers of every deployment."""
    return {deployment: rate for group in (*GROUPS, *SDK_GROUPS) for deployment, rate in group.rates.items()}


def proxy_config(providers: TruthfulProviders, samples: Path, *, rescue: bool) -> dict[str, Any]:
    """Return the proxy's configuration.

    LiteLLM alone picks among the deployments, so that each gets a third: tiers are observed, or are not computed in
    time, and conversations are not kept at one.

    Args:
        providers: behind the deployments.
        samples: folder of the plugin's sample log.
        rescue: True to ask another deployment for a bad answer.
    """
    entries = [
        _entry(group, deployment, providers.api_base(deployment)) for group in GROUPS for deployment in group.rates
    ]
    own: Mapping[str, Any] = {"mode": "observe", "tiers": {"recompute_interval_s": 5, "adaptive": _FEW}}
    if rescue:
        own = {
            "tiers": {"recompute_interval_s": 3600},
            "affinity": {"enabled": False},
            "rescue": {"enabled": True, "streams": True},
        }
    return {
        "model_list": entries,
        "litellm_settings": {"callbacks": [CALLBACK], "drop_params": True},
        "exacto_settings": {**own, "store": {"outcomes": str(samples)}},
    }


def _entry(group: Group, deployment: str, base: str) -> dict[str, Any]:
    params = {"model": f"{group.provider}/scripted", "api_key": "sk-upstream"}
    params["api_base"] = base if group.provider == "anthropic" else f"{base}/v1"
    return {"model_name": group.name, "litellm_params": params, "model_info": {"id": deployment}}
