"""The configuration of the isolated proxy.

It is made from that of the proxy that serves users. Each deployment has a model name of its own, its key, so that no
other one can answer; each model group has one more name, under which LiteLLM's own routing picks, for comparisons. What
could send a request elsewhere, keep an answer, or tell another system of it is left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from exacto_plugin.benchmark_scores.tasks import BASELINE
from exacto_plugin.errors import ExactoError
from exacto_plugin.litellm_hooks.checks.model_list import entries_of
from exacto_plugin.litellm_hooks.deployments.candidates import candidate_of, host_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from exacto_plugin.core.model import Candidate

Config = dict[str, Any]

METER: Final = "exacto_plugin.bench.isolated.meter.meter"
"""The only callback: it counts what answers cost, and refuses requests beyond a budget."""

_ROUTING: Final = ("order", "weight", "rpm", "tpm")
"""Parameters of a deployment that only matter where LiteLLM picks among several."""

_ELSEWHERE: Final = (
    *("fallbacks", "default_fallbacks", "context_window_fallbacks", "content_policy_fallbacks"),
    *("num_retries", "max_retries", "retry_policy", "cooldown_time", "allowed_fails"),
    *("callbacks", "success_callback", "failure_callback", "service_callback", "guardrails", "caching", "cache"),
    *("tags", "max_budget", "budget_duration"),
)
"""Parameters of a deployment that send a request elsewhere, repeat it, or tell of it."""

_ACCESS: Final = ("team_id", "team_public_model_name", "access_groups", "access_via_team_ids", "db_model")
"""Fields of ``model_info`` that restrict callers."""

_OF_LITELLM: Final = (
    *("drop_params", "modify_params", "ssl_verify", "ssl_certificate", "force_ipv4", "request_timeout"),
    *("vertex_project", "vertex_location", "custom_provider_map"),
)
"""``litellm_settings`` that change what a provider is sent, and how it is reached."""

_OF_ROUTER: Final = ("default_litellm_params", "timeout", "stream_timeout")
_STRATEGY: Final = ("routing_strategy", "routing_strategy_args")
_OF_GENERAL: Final = ("key_management_system", "key_management_settings")
"""Where the keys of providers come from."""

_CHAT: Final = frozenset({"", "chat", "completion", "responses"})
"""Modes of models that generate text; a deployment without a mode is one."""


NOT_PASSED: Final = frozenset(
    {
        *("DATABASE_URL", "DATABASE_URL_READ_REPLICA", "DIRECT_URL", "DATABASE_HOST", "STORE_MODEL_IN_DB"),
        *("IAM_TOKEN_DB_AUTH", "AZURE_POSTGRESQL_AUTH", "USE_AWS_KMS", "DATABASE_USERNAME", "DATABASE_NAME"),
        *("LITELLM_CONFIG_BUCKET_NAME", "LITELLM_CONFIG_BUCKET_OBJECT_KEY", "LITELLM_CONFIG_BUCKET_TYPE"),
        *("CONFIG_FILE_PATH", "WORKER_CONFIG", "LITELLM_WORKER_STARTUP_HOOKS", "EXACTO_CONFIG"),
        *("HOST", "PORT", "NUM_WORKERS", "SERVER_ROOT_PATH", "SSL_KEYFILE_PATH", "SSL_CERTFILE_PATH"),
        *("REDIS_URL", "REDIS_HOST", "REDIS_PORT", "REDIS_PASSWORD", "REDIS_CLUSTER_NODES", "REDIS_SENTINEL_NODES"),
        *("PROMETHEUS_MULTIPROC_DIR", "PROMETHEUS_METRICS_PORT", "LITELLM_ENABLE_PYROSCOPE", "LITELLM_MASTER_KEY"),
        *("MAX_REQUESTS_BEFORE_RESTART", "LIMIT_CONCURRENCY", "DEBUG", "DETAILED_DEBUG"),
    }
)
"""Environment variables by which a LiteLLM proxy finds its database, its Redis, another configuration or address.

Source: ``litellm/proxy/proxy_cli.py`` and ``proxy_server.py``, 1.106.2 to 1.110.2.
"""


@dataclass(frozen=True, slots=True)
class Target:
    """A deployment that can be asked under a name of its own."""

    deployment: str
    """Its key, which is its model name in the isolated proxy."""
    model_groups: tuple[str, ...]
    """All model groups with it."""
    candidate: Candidate
    """With its provider and its prices in USD per token."""
    host: str
    """``host[:port]`` of its API base; empty without one."""
    tools: bool
    """False where the operator declared that it takes no tools."""

    @property
    def model_group(self) -> str:
        """The first model group with it."""
        return self.model_groups[0]


@dataclass(frozen=True, slots=True)
class IsolatedModels:
    """The models of the isolated proxy, and its configuration."""

    targets: tuple[Target, ...]
    baselines: Mapping[str, str]
    """Model group -> the name under which LiteLLM's own routing picks among its deployments."""
    skipped: tuple[str, ...]
    """Entries that cannot be asked, each with its reason."""
    config: Config

    def named(self, name: str) -> Target:
        """Return the deployment with a key.

        Raises:
            ExactoError: there is none, with the keys that there are.
        """
        for target in self.targets:
            if target.deployment == name:
                return target
        there = ", ".join(target.deployment for target in self.targets) or "none"
        raise ExactoError(f"no deployment {name!r} in the configuration; there are: {there}")


def isolated_models(config: Mapping[str, Any]) -> IsolatedModels:
    """Return the models and the configuration of the isolated proxy.

    Args:
        config: LiteLLM's configuration, with its included files.
    """
    pinned: dict[str, tuple[Target, Config]] = {}
    groups: dict[str, list[Config]] = {}
    skipped: list[str] = []
    for entry in entries_of(config):
        name, info = entry["model_name"], entry.get("model_info") or {}
        if "*" in name:
            skipped.append(f"{name}: a pattern, which names no model to ask")
            continue
        if str(info.get("mode") or "") not in _CHAT:
            skipped.append(f"{name}: its mode is {info['mode']}, not chat")
            continue
        target = _target(entry)
        if target.deployment in pinned:
            first, made = pinned[target.deployment]
            both = dict.fromkeys((*first.model_groups, name))
            pinned[target.deployment] = replace(first, model_groups=tuple(both)), made
        else:
            pinned[target.deployment] = target, _pinned(entry, target.deployment)
        groups.setdefault(name, []).append(_in_baseline(entry, target.deployment))
    models = [made for _, made in pinned.values()] + [one for found in groups.values() for one in found]
    return IsolatedModels(
        tuple(target for target, _ in pinned.values()),
        {name: baseline_of(name) for name in groups},
        tuple(skipped),
        _config(config, models),
    )


def baseline_of(model_group: str) -> str:
    """Return the name under which LiteLLM's own routing picks in a model group."""
    return f"{BASELINE}{model_group}"


def _target(entry: Mapping[str, Any]) -> Target:
    candidate = candidate_of(entry, entry["model_name"])
    info = entry.get("model_info") or {}
    declared = candidate.parameters
    tools = info.get("supports_function_calling") is not False and (declared is None or "tools" in declared)
    host = host_of(entry["litellm_params"].get("api_base"))
    return Target(str(candidate.key), (entry["model_name"],), candidate, host, tools)


def _pinned(entry: Mapping[str, Any], key: str) -> Config:
    return _model(entry, key, key, (*_ELSEWHERE, *_ROUTING))


def _in_baseline(entry: Mapping[str, Any], key: str) -> Config:
    name = baseline_of(entry["model_name"])
    return _model(entry, name, f"{name}/{key}", _ELSEWHERE)


def _model(entry: Mapping[str, Any], name: str, identity: str, without: Sequence[str]) -> Config:
    params = {key: value for key, value in entry["litellm_params"].items() if key not in without}
    info = {key: value for key, value in (entry.get("model_info") or {}).items() if key not in _ACCESS}
    return {
        "model_name": name,
        "litellm_params": {**params, "max_retries": 0},
        "model_info": {**info, "id": identity},
    }


def _config(config: Mapping[str, Any], models: list[Config]) -> Config:
    shared = {"credential_list": config["credential_list"]} if "credential_list" in config else {}
    variables = config.get("environment_variables")
    kept = {name: value for name, value in dict(variables or {}).items() if name not in NOT_PASSED}
    return {
        **shared,
        "environment_variables": kept,
        "model_list": models,
        "litellm_settings": {
            **_some(config, "litellm_settings", _OF_LITELLM),
            "callbacks": [METER],
            "telemetry": False,
            "num_retries": 0,
        },
        "router_settings": {
            **_some(config, "router_settings", (*_OF_ROUTER, *_STRATEGY)),
            "num_retries": 0,
            "disable_cooldowns": True,
        },
        "general_settings": {
            **_some(config, "general_settings", _OF_GENERAL),
            "master_key": "os.environ/LITELLM_MASTER_KEY",
        },
    }


def _some(config: Mapping[str, Any], section: str, names: Sequence[str]) -> Config:
    given = config.get(section)
    return {name: given[name] for name in names if name in given} if isinstance(given, dict) else {}
