"""The position of the plugin's callback: ahead of LiteLLM's own affinity checks.

Those narrow a model group to the one deployment that a key or session used last. A curated list has to be applied
before them, or the one deployment that is left may not be on the list. The order of LiteLLM's callbacks depends on how
the proxy was started.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import litellm
from litellm.router_utils.pre_call_checks.deployment_affinity_check import DeploymentAffinityCheck
from litellm.router_utils.pre_call_checks.encrypted_content_affinity_check import EncryptedContentAffinityCheck
from litellm.router_utils.pre_call_checks.prompt_caching_deployment_check import PromptCachingDeploymentCheck
from litellm.router_utils.pre_call_checks.responses_api_deployment_check import ResponsesApiDeploymentCheck

if TYPE_CHECKING:
    from litellm.integrations.custom_logger import CustomLogger

_CHECKS = (
    DeploymentAffinityCheck,
    EncryptedContentAffinityCheck,
    PromptCachingDeploymentCheck,
    ResponsesApiDeploymentCheck,
)


def move_before_affinity(callback: CustomLogger) -> None:
    """Move ``callback`` in front of the first of LiteLLM's affinity checks.

    Does nothing if it is in front already.
    """
    callbacks: list[Any] = litellm.callbacks
    ahead = next((place for place, one in enumerate(callbacks) if one is callback or isinstance(one, _CHECKS)), None)
    if ahead is None or callbacks[ahead] is callback or not any(one is callback for one in callbacks):
        return
    # A new list: concurrent requests may be iterating over the old one.
    rest = [one for one in callbacks if one is not callback]
    litellm.callbacks = [*rest[:ahead], callback, *rest[ahead:]]
