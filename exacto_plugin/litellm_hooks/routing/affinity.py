"""Conversations at the LiteLLM seam: which one a request belongs to, where it is, where it goes and what becomes of it.

Where a conversation is kept lives in :mod:`exacto_plugin.core.routing.affinity`, whether it stays is decided in
:mod:`exacto_plugin.core.routing.affinity_rule`. Holds no text: a request's conversation is a salted hash.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exacto_plugin.core.model import Home, Mode, Tier
from exacto_plugin.core.routing.affinity_rule import is_usable
from exacto_plugin.litellm_hooks.faults import fail_open
from exacto_plugin.litellm_hooks.refusal import ExactoRefusedError, bound_elsewhere
from exacto_plugin.litellm_hooks.request.conversation_key import conversation_of
from exacto_plugin.litellm_hooks.request.provider_state import bond_of
from exacto_plugin.litellm_hooks.request.state import SYNC

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from exacto_plugin.core.model import Snapshot
    from exacto_plugin.core.routing.ordering import Ask
    from exacto_plugin.litellm_hooks.request.state import Attempt, RequestState
    from exacto_plugin.litellm_hooks.runtime.runtime import Runtime


class ConversationAffinity:
    """Joins requests to conversations. One per process; the memory is the runtime's."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.faults = runtime.faults

    def recognise(
        self, state: RequestState, group: str, kwargs: Mapping[str, Any], metadata: Mapping[str, Any], messages: Any
    ) -> None:
        """Put the request's conversation into ``state``, where the settings ask for it."""
        settings = self._runtime.settings
        state.conversation = state.bond = None
        state.settles = True
        if settings.mode_of(group) is Mode.OFF:
            return
        share = settings.apply_share_of(group)
        if settings.affinity.enabled or 0.0 < share < 1.0:
            state.conversation = conversation_of(kwargs, metadata, group, self._runtime.salt, messages)
        state.bond = bond_of(kwargs, messages)

    @fail_open("affinity")
    async def look_up(self, state: RequestState) -> None:
        """Learn where another process left the request's conversation, if this one does not know it.

        The first request of a conversation has nothing to look for unless the client named it.
        """
        runtime, conversation = self._runtime, state.conversation
        shared = runtime.replication.conversations
        if shared is None or conversation is None or conversation.opening or state.attempts or SYNC.get():
            return
        if not runtime.settings.affinity.enabled or self._is_known(state, conversation.key):
            return
        found = await shared.find(conversation.key)
        if found is not None:
            runtime.conversations.hear(conversation.key, found.deployment, runtime.clock(), probed=found.probed)

    def _is_known(self, state: RequestState, key: bytes) -> bool:
        """Whether the conversation goes on here; what only one deployment can read does wherever it was last."""
        conversations, now = self._runtime.conversations, self._runtime.clock()
        if state.bond is not None and conversations.recall(key):
            return True
        return conversations.find(key, now, self._runtime.settings.affinity.idle_s) is not None

    @fail_open("affinity")
    async def keep_bond(self, state: RequestState, group: str, healthy: Sequence[Mapping[str, Any]]) -> None:
        """Refuse to move what only one deployment can read while that one is cooling down.

        Raises:
            ExactoRefusedError: 429 until the deployment is back.
        """
        settings = self._runtime.settings
        at = self._bound_to(state)
        if (
            not at
            or (state.bond is not None and state.bond.loosens)
            or settings.mode_of(group) is not Mode.APPLY
            or not state.in_share
        ):
            return
        if any(_id(deployment) == at for deployment in healthy):
            return
        if not any(_id(deployment) == at for deployment in self._runtime.deployments_of(group)):
            return
        cooling_s = await self._runtime.cooldown_s([at])
        if cooling_s is not None:
            name = at if settings.expose.providers else ""
            raise ExactoRefusedError(bound_elsewhere(group, name, cooling_s), group)

    def home(self, state: RequestState, kwargs: Mapping[str, Any]) -> Home | None:
        """Where the request's conversation is; None for a new one."""
        runtime = self._runtime
        if state.bond is not None and isinstance(kwargs.get("input"), list):
            # LiteLLM's own check may have taken the seal off meanwhile.
            state.bond = bond_of(kwargs, None)
        bound = self._bound_to(state)
        if bound:
            return Home(bound, bound=True)
        if state.conversation is None or not runtime.settings.affinity.enabled:
            return None
        found = runtime.conversations.find(state.conversation.key, runtime.clock(), runtime.settings.affinity.idle_s)
        return None if found is None else Home(found.deployment, state.conversation.opening, found.probed)

    def _bound_to(self, state: RequestState) -> str:
        bond, conversation = state.bond, state.conversation
        if bond is None or bond.deployment or conversation is None or conversation.opening:
            return "" if bond is None else bond.deployment
        return self._runtime.conversations.recall(conversation.key)

    @staticmethod
    def decided(state: RequestState, ask: Ask, snapshot: Snapshot) -> None:
        """Note whether the deployment that is picked becomes the conversation's own.

        Where many conversations begin alike, one that is sent elsewhere (a probe, measuring) does not take the others
        with it, as long as they can stay where they are.
        """
        state.settles = ask.home is None or not ask.home.opening or not is_usable(ask, snapshot)

    def picked(self, state: RequestState, attempt: Attempt) -> None:
        """The conversation is at this attempt's deployment now."""
        runtime = self._runtime
        if (
            state.conversation is None
            or not state.settles
            or not attempt.routed
            or not runtime.settings.affinity.enabled
        ):
            return
        attempt.conversation = state.conversation.key
        runtime.conversations.settle(attempt.conversation, attempt.candidate.id, runtime.clock(), probed=attempt.probe)
        self._tell(attempt.conversation)

    def answered(self, attempt: Attempt, *, bad: bool = False) -> None:
        """The attempt was answered: its conversation goes on there.

        Unless the answer's tool call was bad and its deployment is not verified: that one has failed it too. Measured
        (benchmarks/affinity_seeds.py): staying there costs a tenth more bad calls while a model is being learned.
        """
        if bad and attempt.tier is not Tier.VERIFIED_GOOD:
            self.failed(attempt)
        elif attempt.conversation:
            self._runtime.conversations.renew(attempt.conversation, attempt.candidate.id, self._runtime.clock())
            self._tell(attempt.conversation)

    def failed(self, attempt: Attempt) -> None:
        """The deployment failed the attempt: its conversation may leave."""
        if attempt.conversation:
            self._runtime.conversations.leave(attempt.conversation, attempt.candidate.id)
            self._tell(attempt.conversation)

    def _tell(self, conversation: bytes) -> None:
        """Let other processes know where a conversation is now, if they share that."""
        runtime = self._runtime
        shared = runtime.replication.conversations
        if shared is not None and runtime.settings.affinity.enabled:
            place = runtime.conversations.find(conversation, runtime.clock(), runtime.settings.affinity.idle_s)
            shared.note(
                conversation, "" if place is None else place.deployment, probed=place is not None and place.probed
            )


def _id(deployment: Mapping[str, Any]) -> str:
    return str((deployment.get("model_info") or {}).get("id") or "")
