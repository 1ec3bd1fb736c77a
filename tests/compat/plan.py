"""What one run asks: rows and channels made into LiteLLM's configuration, behaviours of providers, and requests."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from tests.compat.cases import provider_of
from tests.compat.rows import ALIAS, ASKS, CONTROLS, KEY, Ask, Channel, Row
from tests.support.proxy.openai_client import prices
from tests.support.proxy.proxy import deployment
from tests.support.proxy.questions import TOOLS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from exacto_plugin.demo.provider import SimulatedProviders

INTERVAL_S: Final = 0.5
"""Between two recomputes."""
_WARM_ASKS: Final = 20
"""Requests of one round that only feeds the tiers."""
_MEASURING_ASKS: Final = 12
"""Calls of each deployment whose speed must be known: the first ones of a process are slow, whoever answers."""

_MARKER: Final = re.compile(r"\[([a-z]+/[a-z0-9/-]+)\] What")

ROUTER: Final[dict[str, Any]] = {"num_retries": 0, "disable_cooldowns": True, "routing_strategy": "simple-shuffle"}
"""LiteLLM itself makes one attempt: what goes elsewhere goes there because of the plugin."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a row.

    Args:
        marker: stands in the question, so that providers' requests can be told apart.
        group: the row's model group.
        ask: what is asked; ``{group}`` in it is not filled in yet.
    """

    marker: str
    group: str
    ask: Ask

    @property
    def question(self) -> str:
        """The user's message; each begins a conversation of its own."""
        return f"[{self.marker}] What is the weather in Lisbon?"

    @property
    def model(self) -> str:
        """The name that is asked for."""
        return self.ask.model.replace("{group}", self.group)

    @property
    def body(self) -> dict[str, Any]:
        """Further fields."""
        return _filled(dict(self.ask.body), self.group)  # type: ignore[no-any-return]

    @property
    def keywords(self) -> dict[str, Any]:
        """As a router is asked."""
        messages = [{"role": "user", "content": self.question}]
        tools = {"tools": TOOLS} if self.ask.tools else {}
        return {"model": self.model, "messages": messages, "stream": self.ask.stream, **tools, **self.body}


def _filled(value: Any, group: str) -> Any:
    if isinstance(value, dict):
        return {key: _filled(one, group) for key, one in value.items()}
    if isinstance(value, list):
        return [_filled(one, group) for one in value]
    return value.replace("{group}", group) if isinstance(value, str) else value


class Group(NamedTuple):
    """A model group that a row is asked of."""

    name: str
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Line:
    """A row on a channel: one line of the table."""

    row: Row
    channel: Channel

    @property
    def name(self) -> str:
        """``CHANNEL/ROW``."""
        return f"{self.channel}/{self.row.name}"

    @property
    def group(self) -> str:
        """The row's model group, which no other row and no other channel has."""
        return f"{self.channel}-{self.row.name}"

    @property
    def groups(self) -> tuple[Group, ...]:
        """The model group, and that of a control with ``mode: off``."""
        own = Group(self.group, self.row.settings)
        return (own, Group(f"{self.group}-off", {**self.row.settings, "mode": "off"})) if self.row.off else (own,)

    def parts(self, group: str) -> dict[str, str]:
        """Deployment id to part, of all that serve a model group of this line or stand before it."""
        return {f"{group}-{one.part}": one.part for one in self.row.deployments}

    @cached_property
    def asks(self) -> list[Request]:
        """The requests that count."""
        return [self._request("ask", number, self.row.ask) for number in range(ASKS)]

    @cached_property
    def controls(self) -> list[Request]:
        """The same without the feature; none for a row that is not about routing."""
        if self.row.off:
            return [self._request("control", number, self.row.ask, self.groups[1].name) for number in range(CONTROLS)]
        if self.row.control is None:
            return []
        return [self._request("control", number, self.row.control) for number in range(CONTROLS)]

    def warm(self, turn: int) -> list[Request]:
        """The requests of a round before those that count."""
        if turn < self.row.warm_rounds:
            return [self._request(f"warm{turn}", number, self.row.ask) for number in range(_WARM_ASKS)]
        if turn == 0 and self.row.measured:
            pinned = [*self.parts(self.group)] * _MEASURING_ASKS
            return [self._request("warm", number, Ask(name)) for number, name in enumerate(pinned)]
        return []

    def _request(self, kind: str, number: int, ask: Ask, group: str = "") -> Request:
        return Request(f"{self.name}/{kind}/{number}", group or self.group, ask)


@dataclass(frozen=True)
class Plan:
    """All lines that are asked through one process."""

    lines: Sequence[Line]
    providers: SimulatedProviders

    @property
    def rounds(self) -> range:
        """Rounds before those that count."""
        return range(max((max(line.row.warm_rounds, int(line.row.measured)) for line in self.lines), default=0))

    def behave(self) -> None:
        """Tell the providers how to behave; each puts its name into whatever valid it says."""
        for line in self.lines:
            for group in line.groups:
                for one in line.row.deployments:
                    name = f"{group.name}-{one.part}"
                    said = {"arguments": f'{{"city": "{name}", "days": 1}}', "content": name}
                    self.providers.control.behave(name, **said, **one.behaviour)

    def model_list(self) -> list[dict[str, Any]]:
        """LiteLLM's."""
        return [
            deployment(
                self.providers,
                (name := f"{group.name}-{one.part}"),
                one.group.replace("{group}", group.name),
                info={"provider": provider_of(name)},
                weight=one.weight,
                **prices(one.price, one.price),
            )
            for line in self.lines
            for group in line.groups
            for one in line.row.deployments
        ]

    def settings(self) -> dict[str, Any]:
        """``exacto_settings``."""
        groups = {group.name: dict(group.settings) for line in self.lines for group in line.groups if group.settings}
        curated = {line.group: [f"{line.group}-{part}" for part in line.row.curated] for line in self.lines}
        return {
            "curated": {group: names for group, names in curated.items() if names},
            "model_groups": groups,
            "tiers": {"recompute_interval_s": INTERVAL_S},
            "exploration": {"share": 0},
            "failover": {"max_attempts": 3},
            "rescue": {"enabled": True, "streams": True, "max_extra_seconds": 20},
        }

    def seen(self) -> dict[str, list[tuple[str, dict[str, Any]]]]:
        """By a request's marker the deployments that were asked for it, and the bodies that they got."""
        found: dict[str, list[tuple[str, dict[str, Any]]]] = {}
        names = {name for line in self.lines for group in line.groups for name in line.parts(group.name)}
        for name in names:
            for one in self.providers.control.seen(name):
                for marker in _MARKER.findall(orjson.dumps(one["body"]).decode()):
                    found.setdefault(marker, []).append((name, one["body"]))
        return found

    def keys(self) -> dict[str, dict[str, Any]]:
        """The key that has an alias, for LiteLLM's authentication."""
        aliased = next((line.group for line in self.lines if line.row.ask.key == KEY), None)
        return {} if aliased is None else {KEY: {"models": [aliased], "aliases": {ALIAS: aliased}}}

    def requests(self) -> Iterator[list[Request]]:
        """What counts, controls included: lists that may be asked side by side, each in its order."""
        lines = sorted(self.lines, key=lambda line: not line.row.conversation)  # they take longest
        for line in lines:
            for wanted in (line.asks, line.controls):
                yield from [wanted] if line.row.conversation else [[one] for one in wanted]
