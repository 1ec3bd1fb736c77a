"""The state of the simulated providers: behaviours, scripts, requests, acts.

No HTTP. One event loop uses it, so nothing is locked.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from exacto_plugin.demo.behaviour import Act, Behaviour, decide, draw
from exacto_plugin.demo.prompt_cache import PromptCache

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

_SEEN_REQUESTS: Final = 200
"""Most requests that a provider keeps, so that memory is bounded."""


@dataclass(slots=True)
class SimulatedProvider:
    """One provider while it runs."""

    name: str
    behaviour: Behaviour = field(default_factory=Behaviour)
    script: deque[Act | int] = field(default_factory=deque)
    requests: int = 0
    acts: Counter[str] = field(default_factory=Counter)
    """Counts of answers, by act or status."""
    seen: deque[Mapping[str, Any]] = field(default_factory=lambda: deque(maxlen=_SEEN_REQUESTS))
    """Path, headers and body of the latest requests."""
    prompts: PromptCache = field(default_factory=PromptCache)
    minute: int = 0
    """Minute of the clock of the latest request."""
    admitted: int = 0
    """Requests of that minute that were within the limit."""

    def behave(self, behaviour: Behaviour) -> None:
        """Replace the behaviour; its script replaces the rest of the old one."""
        self.behaviour = behaviour
        self.script = deque(behaviour.next)

    def admits(self, at: float) -> bool:
        """Count a request at a time in UTC seconds; False beyond the limit of its minute."""
        if (minute := int(at // 60)) != self.minute:
            self.minute, self.admitted = minute, 0
        limit = self.behaviour.requests_per_minute
        within = limit is None or self.admitted < limit
        self.admitted += within
        return within

    def turn(self, *, tools: bool, forced: bool) -> tuple[Act | int, Random]:
        """Return the act or status of the present request, and the source of its draws."""
        random = draw(self.behaviour, self.name, self.requests)
        self.requests += 1
        decided = decide(self.behaviour, random, tools=tools, forced=forced)
        return (self.script.popleft() if self.script else decided), random

    def state(self) -> dict[str, Any]:
        """Return everything but the requests, as JSON."""
        return {
            "name": self.name,
            "behaviour": self.behaviour.model_dump(mode="json"),
            "script_left": len(self.script),
            "requests": self.requests,
            "acts": dict(self.acts),
        }


class Fleet:
    """All simulated providers of a process.

    A name begins with the default behaviour at its first request.
    """

    def __init__(self, behaviours: Mapping[str, Behaviour] | None = None) -> None:
        self._initial = dict(behaviours or {})
        self._providers: dict[str, SimulatedProvider] = {}

    def provider(self, name: str) -> SimulatedProvider:
        """Return the provider of this name."""
        if name not in self._providers:
            self._providers[name] = SimulatedProvider(name)
            self._providers[name].behave(self._initial.get(name, Behaviour()))
        return self._providers[name]

    def forget(self, name: str | None = None) -> None:
        """Reset one provider, or all of them, to the initial state."""
        if name is None:
            self._providers.clear()
        else:
            self._providers.pop(name, None)

    def states(self) -> dict[str, dict[str, Any]]:
        """Return the state of every provider with requests or settings so far."""
        return {name: provider.state() for name, provider in sorted(self._providers.items())}
