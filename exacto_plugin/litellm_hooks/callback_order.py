"""The position of the plugin's callback among those of LiteLLM.

It is ahead of LiteLLM's own affinity checks, and of its OpenTelemetry.
The checks narrow a model group to the one deployment that a key or session used last. A curated list has to be applied
before them, or the one deployment that is left may not be on the list. OpenTelemetry ends the span of a request, and
what the answer was has to be on it before. The order of LiteLLM's callbacks depends on how the proxy was started.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import litellm
from litellm.router_utils.pre_call_checks.deployment_affinity_check import DeploymentAffinityCheck
from litellm.router_utils.pre_call_checks.encrypted_content_affinity_check import EncryptedContentAffinityCheck
from litellm.router_utils.pre_call_checks.prompt_caching_deployment_check import PromptCachingDeploymentCheck
from litellm.router_utils.pre_call_checks.responses_api_deployment_check import ResponsesApiDeploymentCheck

if TYPE_CHECKING:
    from collections.abc import Callable

    from litellm.integrations.custom_logger import CustomLogger

_CHECKS = (
    DeploymentAffinityCheck,
    EncryptedContentAffinityCheck,
    PromptCachingDeploymentCheck,
    ResponsesApiDeploymentCheck,
)


_SPANS = ("litellm.integrations.opentelemetry", "litellm.integrations.otel")
"""Modules of the callbacks that end spans, and of their base classes."""

_EVENTS = ("success_callback", "_async_success_callback")
"""LiteLLM's lists of callbacks for the log events of answers."""


def put_in_order(callback: CustomLogger) -> None:
    """Move ``callback`` to where it has to be in LiteLLM's lists."""
    move_before_affinity(callback)
    for name in _EVENTS:
        _move(name, callback, _ends_spans)


def move_before_affinity(callback: CustomLogger) -> None:
    """Move ``callback`` in front of the first of LiteLLM's affinity checks.

    Does nothing if it is in front already.
    """
    _move("callbacks", callback, _is_affinity_check)


@cache
def _is_affinity_check(kind: type) -> bool:
    return issubclass(kind, _CHECKS)


@cache
def _ends_spans(kind: type) -> bool:
    return any(base.__module__.startswith(_SPANS) for base in kind.__mro__)


def _move(name: str, callback: CustomLogger, has_to_follow: Callable[[type], bool]) -> None:
    callbacks: list[Any] = getattr(litellm, name)
    for ahead, one in enumerate(callbacks):  # noqa: B007 -- read after the loop
        if one is callback:
            return
        if has_to_follow(type(one)):
            break
    else:
        return
    if not any(one is callback for one in callbacks):
        return
    # A new list: concurrent requests may be iterating over the old one.
    rest = [one for one in callbacks if one is not callback]
    setattr(litellm, name, [*rest[:ahead], callback, *rest[ahead:]])
