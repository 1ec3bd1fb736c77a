"""Runtimes, routers and answers for tests of one process's plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import litellm

from exacto_plugin.config.settings import Settings
from exacto_plugin.core.model import Candidate, DeploymentKey, LiteLLMId, Outcome, Sample

if TYPE_CHECKING:
    from exacto_plugin.litellm_hooks.runtime.runtime import Runtime

NOW = 1_700_000_000.0
SOON_S = 0.001


def settings(**tiers: Any) -> Settings:
    """The published rule, recomputed all the time; one deployment with data is verified."""
    numbers = {"tool_call_requests": 2, "throughput_requests": 2, "verify_peers": 1}
    block = {"preset": "openrouter", "recompute_interval_s": SOON_S, "openrouter": numbers, **tiers}
    return Settings.model_validate({"tiers": block})


def router(*groups: str, keys: str = "ab", **more: Any) -> litellm.Router:
    """A router whose groups have one deployment per key."""
    params = {"model": "openai/m", "api_base": "http://127.0.0.1:9", "api_key": "sk-secret"}
    entries = [
        {"model_name": group, "litellm_params": params, "model_info": {"id": key, "provider": f"provider-{key}"}}
        for group in groups
        for key in keys
    ]
    return litellm.Router(model_list=entries, **more)


def record(runtime: Runtime, key: str, group: str = "g", outcome: Outcome = Outcome.VALID) -> None:
    """One judged answer."""
    sample = Sample(group, DeploymentKey(key), NOW, tools_offered=True, outcome=outcome)
    runtime.samples.record(sample, Candidate(LiteLLMId(key), DeploymentKey(key), f"provider-{key}"))
