"""Rescued answers of the Responses API that a later request may point to.

By default a provider stores its responses, and clients point to a response, or to items of it, instead of sending them
again. Only the deployment that made the answer knows them. LiteLLM writes that deployment into the response's id; here
it is written into the items' ids as well, in LiteLLM's own form, and the conversation moves there.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from litellm.types.llms.openai import ResponsesAPIResponse

from exacto_plugin.litellm_hooks.request.provider_state import named_item_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exacto_plugin.litellm_hooks.request.attempts import Attempt
    from exacto_plugin.litellm_hooks.routing.affinity import ConversationAffinity

_PROXY_SERVER: Final = "litellm.proxy.proxy_server"


class StoredResponses:
    """Rule for stored responses. One per process.

    Args:
        affinity: has the deployments, and moves conversations.
    """

    def __init__(self, affinity: ConversationAffinity) -> None:
        self._affinity = affinity

    def is_fixed(self, attempt: Attempt, request: Mapping[str, Any]) -> bool:
        """Return whether the id of an attempt's response leads back to that answer.

        Where the provider does not store it, LiteLLM follows the id to its own record of the answer, if it has a
        database.

        Args:
            attempt: the attempt.
            request: keyword arguments of the call.
        """
        if request.get("store") is False:
            return False
        recorded = getattr(sys.modules.get(_PROXY_SERVER), "prisma_client", None) is not None
        return recorded or self._affinity.stores_responses(attempt.model_group, attempt.candidate.id)

    def deliver(self, answer: Any, attempt: Attempt, replaced: Attempt, request: Mapping[str, Any]) -> Any:
        """Return a rescued answer in the form in which later requests may point to it.

        Args:
            answer: the whole answer; other surfaces' answers are returned as they are.
            attempt: the attempt that it is of.
            replaced: the attempt with the bad answer.
            request: keyword arguments of the call.
        """
        if not isinstance(answer, ResponsesAPIResponse) or request.get("store") is False:
            return answer
        if not self._affinity.stores_responses(attempt.model_group, attempt.candidate.id):
            return answer
        self._affinity.note_rescue(replaced, attempt)
        return answer.model_copy(update={"output": [_named(item, attempt.candidate.id) for item in answer.output]})


def _named(item: Any, deployment: str) -> Any:
    """Return an item of a response whose id names its deployment."""
    own = item.get("id") if isinstance(item, dict) else getattr(item, "id", None)
    if not isinstance(own, str) or not own:
        return item
    fresh = {"id": named_item_id(deployment, own)}
    return {**item, **fresh} if isinstance(item, dict) else item.model_copy(update=fresh)
