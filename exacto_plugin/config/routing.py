"""Settings of routing: affinity, failover and rescue."""

from __future__ import annotations

from exacto_plugin.config.blocks import Count, Seconds, SettingsBlock
from exacto_plugin.core.routing.affinity import IDLE_S, SessionId


class AffinitySettings(SettingsBlock):
    """Settings of affinity: a conversation stays at its deployment.

    Its prompt cache then serves the conversation.
    """

    enabled: bool = True
    """Keep conversations at their deployment.
    On by default, as OpenRouter's sticky sessions are; only under ``mode: apply``, and not under an explicit
    ``order`` or an order by price, throughput or latency."""
    idle_s: Seconds = IDLE_S
    """Seconds without a successful answer after which affinity ends.
    OpenRouter: 10 minutes."""
    session_ids: tuple[SessionId, ...] = tuple(SessionId)
    """Ids by which clients name a conversation; of several that a request has, the first listed one counts.
    A request without any is told by its first messages; an empty list: every request is."""


class FailoverSettings(SettingsBlock):
    """Limits on the deployments that one request may try."""

    max_attempts: Count | None = None
    """Attempts of one request in a model group, the first included.
    Each goes to another deployment; also after 402, 404 and errors before the first chunk of a chat stream, never
    after 400. A request may ask for fewer (``num_retries``); fallbacks to other model groups count anew. null, the
    default: LiteLLM's own number (``num_retries``)."""


class RescueSettings(SettingsBlock):
    """Settings of rescue: another deployment is asked after a bad answer.

    The client receives no answer before that.
    """

    enabled: bool = False
    """Ask another deployment of the model group after a bad answer.
    That is one with a bad tool call, or a broken one: empty, damaged, or an error. Off by default, since it costs a
    second answer: a whole answer that is bad is held back until then. The client receives the first valid answer;
    without any, the first."""
    max_attempts: Count = 1
    """Other deployments that one request may be sent to for rescue.
    1: on the K2VV table of 2025-11-15 that leaves about a tenth of the bad calls (measured: benchmarks/rescue.py),
    and a second one costs as much as the first."""
    max_extra_seconds: Seconds = 30.0
    """Longest time beyond the first answer, in seconds, over all attempts."""
    streams: bool = False
    """Rescue streams too.
    Off by default, since tool calls of a stream then arrive at its end, all at once. Its text is not delayed, once it
    has begun as no broken answer does."""
    hold_s: Seconds = 10.0
    """Longest time, in seconds, that the beginning of a stream is held back while it has reasoning only.
    After that the reasoning is passed on, and an answer that ends without text is no longer replaced. Clients show
    reasoning, and some give up a stream that sends nothing for long."""
    same_deployment: bool = False
    """Ask the same deployment once more where no other is left.
    A bad answer is often one draw of several. Off by default, since a deployment that fails always is then paid
    twice for each answer."""
