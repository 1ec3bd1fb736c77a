"""Session affinity of requests: finds, assigns and releases conversations.

The entries are kept in :mod:`exacto_plugin.core.routing.affinity`, and :mod:`exacto_plugin.core.routing.affinity_rule`
decides whether a conversation stays at its deployment. Holds no text: a request's conversation is a salted hash.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from exacto_plugin.core.decision import AffinityTarget, Decision
from exacto_plugin.core.model import LiteLLMId, Mode, Tier
from exacto_plugin.core.routing.affinity_rule import STAYS, is_usable
from exacto_plugin.litellm_hooks.deployments.candidates import litellm_id
from exacto_plugin.litellm_hooks.faults import fail_open
from exacto_plugin.litellm_hooks.refusal import ExactoRefusedError, pinned_unavailable
from exacto_plugin.litellm_hooks.request.conversation_key import conversation_of
from exacto_plugin.litellm_hooks.request.provider_state import provider_state_of, stores_responses
from exacto_plugin.litellm_hooks.request.state import SYNC

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from exacto_plugin.core.model import Snapshot
    from exacto_plugin.core.routing.affinity import ConversationMap
    from exacto_plugin.core.routing.ordering import RoutingRequest
    from exacto_plugin.litellm_hooks.context import Context
    from exacto_plugin.litellm_hooks.deployments.routers import Routers
    from exacto_plugin.litellm_hooks.request.attempts import Attempt
    from exacto_plugin.litellm_hooks.request.provider_state import ProviderState
    from exacto_plugin.litellm_hooks.request.state import RequestState


class PublishedEntry(Protocol):
    """The entry of a conversation that another process published."""

    @property
    def deployment(self) -> LiteLLMId:
        """Its deployment."""

    @property
    def from_probe(self) -> bool:
        """True when a probe assigned it."""


class ConversationExchange(Protocol):
    """The conversations of all processes."""

    async def find(self, conversation: bytes) -> PublishedEntry | None:
        """Look a conversation up; None without an entry or an answer."""

    def enqueue(self, conversation: bytes, deployment: str, *, probed: bool = False) -> None:
        """Publish the deployment of a conversation; an empty id releases it."""


class SharedState(Protocol):
    """The state that processes share, once there is an exchange."""

    @property
    def conversations(self) -> ConversationExchange | None:
        """None while conversations are not shared."""


class ConversationAffinity:
    """The assignment of requests to conversations. One per process.

    Args:
        context: of this process.
        conversations: the entries of this process.
        shared: has the entries of other processes.
        routers: have the deployments.
    """

    def __init__(self, context: Context, conversations: ConversationMap, shared: SharedState, routers: Routers) -> None:
        self._context = context
        self._conversations = conversations
        self._shared = shared
        self._routers = routers
        self.faults = context.faults

    def identify(
        self, state: RequestState, group: str, kwargs: Mapping[str, Any], metadata: Mapping[str, Any], messages: Any
    ) -> None:
        """Put the request's conversation into ``state`` if the settings require it."""
        settings = self._context.settings
        found = state.affinity
        found.conversation = found.provider_state = None
        found.pointed_at = None
        found.is_assigned = True
        if settings.mode_of(group) is Mode.OFF:
            return
        share = settings.apply_share_of(group)
        if settings.affinity.enabled or 0.0 < share < 1.0:
            ids = settings.affinity.session_ids
            found.conversation = conversation_of(kwargs, metadata, group, self._context.salt, messages, ids)
        self._bind(state, group, kwargs, messages)

    def _bind(self, state: RequestState, group: str, kwargs: Mapping[str, Any], messages: Any) -> None:
        """Put the request's provider-bound state into ``state``.

        A pointer to a stored response binds nothing in a group whose providers store none.
        """
        affinity, found = state.affinity, provider_state_of(kwargs, messages)
        affinity.pointed_at = None
        if found is not None and found.is_pointer and not self.stores_responses(group):
            affinity.pointed_at, found = found.deployment, None
        affinity.provider_state = found

    def stores_responses(self, group: str, deployment: str = "") -> bool:
        """Return whether a provider of a model group may store responses.

        Args:
            group: the model group.
            deployment: LiteLLM's id of the only deployment to look at; empty: all of them.
        """
        known = self._routers.deployments_of(group)
        asked = [one for one in known if not deployment or litellm_id(one) == deployment]
        # Where that is unknown a pointer binds: a turn that stays is never wrong.
        return not asked or self.faults.guard("affinity", lambda: any(map(stores_responses, asked)), True)

    @fail_open("affinity")
    async def look_up(self, state: RequestState) -> None:
        """Look up the request's conversation in other processes, if it is unknown here.

        The first request of a conversation has no entry to look up unless the client named the conversation.
        """
        shared, conversation = self._shared.conversations, state.affinity.conversation
        if shared is None or conversation is None or conversation.is_new or state.attempts or SYNC.get():
            return
        if not self._context.settings.affinity.enabled or self._is_known(state, conversation.key):
            return
        found = await shared.find(conversation.key)
        if found is not None:
            self._conversations.learn(
                conversation.key, found.deployment, self._context.clock(), probed=found.from_probe
            )

    def _is_known(self, state: RequestState, key: bytes) -> bool:
        """Return whether this process has a usable entry of the conversation.

        For state that only one deployment can read, the last known deployment is enough.
        """
        conversations, now = self._conversations, self._context.clock()
        if state.affinity.provider_state is not None and conversations.last_known(key):
            return True
        return conversations.find(key, now, self._context.settings.affinity.idle_s) is not None

    @fail_open("affinity")
    async def require_available(self, state: RequestState, group: str, healthy: Sequence[Mapping[str, Any]]) -> None:
        """Refuse to move provider state while its deployment is cooling down.

        Raises:
            ExactoRefusedError: 429 until the deployment is back.
        """
        settings = self._context.settings
        at = self._pinned_deployment(state)
        if (
            not at
            or _is_releasable(state.affinity.provider_state)
            or settings.mode_of(group) is not Mode.APPLY
            or not state.affinity.in_share
        ):
            return
        if any(litellm_id(deployment) == at for deployment in healthy):
            return
        if not any(litellm_id(deployment) == at for deployment in self._routers.deployments_of(group)):
            return
        cooling_s = await self._routers.cooldown_s([at], synchronous=SYNC.get())
        if cooling_s is not None:
            name = at if settings.expose.providers else ""
            raise ExactoRefusedError(pinned_unavailable(group, name, cooling_s), group)

    def locate(self, state: RequestState, kwargs: Mapping[str, Any]) -> AffinityTarget | None:
        """Return the deployment of the request's conversation; None for a new one."""
        if state.affinity.provider_state is not None and isinstance(kwargs.get("input"), list):
            # LiteLLM's own check may have removed the encrypted content meanwhile.
            self._bind(state, state.model_group, kwargs, None)
        bound = self._pinned_deployment(state)
        if bound:
            return AffinityTarget(bound, pinned=True)
        affinity = self._context.settings.affinity
        conversation = state.affinity.conversation
        if conversation is None or not affinity.enabled:
            return None
        if state.affinity.pointed_at:
            return AffinityTarget(state.affinity.pointed_at)
        found = self._conversations.find(conversation.key, self._context.clock(), affinity.idle_s)
        return None if found is None else AffinityTarget(found.deployment, conversation.is_new, found.from_probe)

    def _pinned_deployment(self, state: RequestState) -> LiteLLMId:
        bound, conversation = state.affinity.provider_state, state.affinity.conversation
        if bound is None or bound.deployment or conversation is None or conversation.is_new:
            return LiteLLMId("") if bound is None else bound.deployment
        return self._conversations.last_known(conversation.key)

    @staticmethod
    def note_decision(state: RequestState, ask: RoutingRequest, decision: Decision, snapshot: Snapshot) -> None:
        """Record whether the picked deployment is assigned to the conversation.

        Where many conversations have the same first messages, one that is sent elsewhere (a probe, measuring) does not
        move the others, as long as their deployment stays usable.
        """
        begins_alike = ask.home is not None and ask.home.is_new
        # A conversation stays at a usable deployment only.
        stays = begins_alike and (decision.reason == STAYS or is_usable(ask, snapshot))
        state.affinity.is_assigned = not stays

    def note_attempt(self, state: RequestState, attempt: Attempt) -> None:
        """Assign the conversation to this attempt's deployment."""
        if (
            state.affinity.conversation is None
            or not state.affinity.is_assigned
            or not attempt.routed
            or not self._context.settings.affinity.enabled
        ):
            return
        attempt.conversation = state.affinity.conversation.key
        now = self._context.clock()
        self._conversations.assign(attempt.conversation, attempt.candidate.id, now, probed=attempt.probe)
        self._share(attempt.conversation)

    def note_rescue(self, replaced: Attempt, attempt: Attempt) -> None:
        """Move a conversation to the deployment of the delivered answer.

        Args:
            replaced: the attempt that the conversation followed.
            attempt: the attempt that it follows from then on.
        """
        if replaced.conversation and self._context.settings.affinity.enabled:
            attempt.conversation = replaced.conversation
            self._conversations.assign(attempt.conversation, attempt.candidate.id, self._context.clock())
            self._share(attempt.conversation)

    def note_answer(self, attempt: Attempt, *, bad: bool = False) -> None:
        """Keep the conversation at the deployment of an answered attempt.

        It is released if the answer's tool call was bad and its deployment is not verified: the deployment has failed
        it too. Measured (benchmarks/affinity_seeds.py): staying there costs a tenth more bad calls while a model group
        is being measured.
        """
        if bad and attempt.tier is not Tier.VERIFIED_GOOD:
            self.note_failure(attempt)
        elif attempt.conversation:
            self._conversations.touch(attempt.conversation, attempt.candidate.id, self._context.clock())
            self._share(attempt.conversation)

    def note_failure(self, attempt: Attempt) -> None:
        """Release the conversation from a deployment that failed the attempt."""
        if attempt.conversation:
            self._conversations.release(attempt.conversation, attempt.candidate.id)
            self._share(attempt.conversation)

    def _share(self, conversation: bytes) -> None:
        """Send a conversation's deployment to other processes, if it is shared."""
        shared, affinity = self._shared.conversations, self._context.settings.affinity
        if shared is not None and affinity.enabled:
            place = self._conversations.find(conversation, self._context.clock(), affinity.idle_s)
            shared.enqueue(
                conversation, "" if place is None else place.deployment, probed=place is not None and place.from_probe
            )


def _is_releasable(provider_state: ProviderState | None) -> bool:
    return provider_state is not None and provider_state.releasable
