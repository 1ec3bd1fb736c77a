"""Simulated providers that answer the requests of the parcel service.

The rate of wrong conversations is given. A right conversation makes the golden actions of its request, one after the
other; a wrong one makes them with another parcel, or does what the rules forbid. Failures are HTTP errors.
"""

from __future__ import annotations

import time
from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from exacto_plugin.bench.parcels.parcel_world import REQUESTS
from exacto_plugin.bench.simulated_models import SimulatedModels, completion, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exacto_plugin.bench.parcels.parcel_world import Action, Request


class Skill(NamedTuple):
    """How a simulated provider answers."""

    wrong: float = 0.0
    """Share of conversations that end wrongly, 0..1."""
    down: float = 0.0
    """Share of requests that fail."""
    status: int = 503
    """Of those."""
    after: int = 0
    """Requests that are served before ``down`` begins."""
    latency_s: float = 0.0


class SimulatedParcelModels(SimulatedModels):
    """A server on loopback with an API for each provider; a context manager.

    Args:
        skills: by name of the provider, which can be changed while the server runs.
        seed: of all draws.
    """

    def __init__(self, skills: Mapping[str, Skill], seed: int = 1) -> None:
        super().__init__()
        self.skills = dict(skills)
        self._seed = seed
        self._conversations: Counter[tuple[str, str]] = Counter()

    def status(self, provider: str) -> int:
        """Return the status of a provider's failures."""
        return self.skills[provider].status

    def answer(self, provider: str, body: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the answer to a request; None for an error."""
        number = self.counted(provider)
        skill = self.skills.get(provider, Skill())
        time.sleep(skill.latency_s)
        if number > skill.after and Random(f"{self._seed} {provider} {number}").random() < skill.down:
            return None
        messages = body["messages"]
        asked = next((text_of(one) for one in messages if one["role"] == "user"), "")
        made = sum(one["role"] == "assistant" for one in messages)
        request = next((one for one in REQUESTS if one.text == asked), None)
        if request is None:
            return completion(body, f"ok {number}", None)
        actions = request.golden
        if self._is_wrong(provider, request, skill, first=not made):
            actions = _spoiled(request)
        action = actions[made] if made < len(actions) else None
        return completion(body, None if action else "That is done.", action)

    def _is_wrong(self, provider: str, request: Request, skill: Skill, *, first: bool) -> bool:
        """Draw once for each conversation; those of one request end one after the other."""
        with self.lock:
            self._conversations[provider, request.name] += first
            number = self._conversations[provider, request.name]
        return Random(f"{self._seed} {provider} {request.name} {number}").random() < skill.wrong


def _spoiled(request: Request) -> tuple[Action, ...]:
    """Return actions that end wrongly.

    The last change is made to another parcel, or a forbidden one is made.
    """
    *before, (name, arguments) = request.golden
    if name in ("find_parcels", "get_parcel", "list_lockers"):
        return (*request.golden, ("add_note", {"parcel": "P103", "note": "please"}))
    return (*before, (name, {**arguments, "parcel": "P103"}))
