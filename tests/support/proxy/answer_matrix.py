"""The cells of the matrix test: a surface, whole or streamed, times a way to answer, and what is right in each.

Every cell has a model group of its own, so that all can be asked at once and told apart in what was counted.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from prometheus_client.parser import text_string_to_metric_families

from tests.support.proxy.answer_cases import INSUFFICIENT, LEFT, LEFT_BEFORE, WAYS, Way
from tests.support.proxy.openai_client import prices
from tests.support.proxy.proxy import deployment
from tests.support.proxy.surfaces import AZURE, CHAT, MESSAGES, RESPONSES, TEXT, Clients, Surface

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence

    from exacto_plugin.demo.provider import SimulatedProviders
    from tests.support.proxy.proxy import Proxy

PROVIDER: Final = "theirs"
"""Who serves all deployments, and what the provider calls the model."""
ARGUMENTS: Final = '{"city": "Lisbon", "days": 2}'
"""Of every call that is well made."""
CONTENT: Final = "It will rain."
AT_ONCE: Final = 12
"""Requests under way at a time."""


@dataclass(frozen=True)
class Column:
    """One surface, under a slug of its own."""

    surface: Surface
    suffix: str = ""
    policy: str = "auto"
    native: bool = False
    """The provider speaks Anthropic's own API."""
    responses: bool = False
    """The provider is asked through its Responses API, as LiteLLM does for ``/v1/messages`` too."""
    tools: bool = True
    retries: bool = True


COLUMNS: Final = {
    "chat": Column(CHAT),
    "azure": Column(AZURE, ":exacto", "exacto"),
    "responses": Column(RESPONSES, ":floor", "price", responses=True),
    "messages": Column(MESSAGES, ":exacto", "exacto", responses=True),
    "native": Column(MESSAGES, ":exacto:floor", "price", native=True),
    "text": Column(TEXT, ":floor", "price", tools=False),
}
MODES: Final = {"whole": False, "streamed": True}
TEXT_WAYS: Final = tuple(way for way in WAYS if way.name in ("good", "left", "cut", "500", "429"))
"""Text completions have no tools, so there is nothing to break."""


@dataclass(frozen=True)
class Cell:
    """One cell of the matrix."""

    name: str
    column: Column
    stream: bool
    way: Way

    @property
    def slug(self) -> str:
        """What is asked for."""
        return f"{self.name}{self.column.suffix}"

    @property
    def first(self) -> str:
        """The deployment that is asked first under every policy."""
        return f"first-{self.name}"

    @property
    def spare(self) -> str:
        """The other one, which is always well."""
        return f"spare-{self.name}"

    @property
    def fails(self) -> bool:
        """No other attempt is made: LiteLLM sends a streamed text completion when it is read, which is too late."""
        late = self.stream and not self.column.tools
        return bool(self.way.error) and (late or not self.column.retries)

    @property
    def served(self) -> str:
        """The deployment that the client hears of."""
        return self.spare if self.way.error and not self.fails else self.first

    @property
    def says(self) -> str | None:
        """What the client must have heard; None where the provider makes it up."""
        if not self.column.tools or self.way.name == "none":
            return CONTENT if self.way.name not in ("cut", "left") else None
        return ARGUMENTS if self.way.call == "valid" or self.way.name == "name" else None


def right_way(column: Column, way: Way, *, stream: bool) -> Way:
    """What is right in one cell."""
    if way is LEFT and not stream:
        way = LEFT_BEFORE
    if way.name == "json" and column.native and not stream:
        # Anthropic's whole answers bring arguments as values: what did not parse is a text in place of an object.
        way = replace(way, outcome="schema_mismatch", call="schema_mismatch", flaw="schema_mismatch")
    if way.name == "missing" and column.responses:
        # A Responses answer says in its items alone that it calls, so one without a call is an empty one.
        way = replace(way, outcome="broken", flaw="empty", evidence=(0, 0))
    if not column.tools:
        # LiteLLM tells nobody of a text completion that a client left.
        outcomes = {"client_disconnect": "", "cut_short": "cut_short"}
        outcome = outcomes.get(way.outcome, "no_tools")
        way = replace(way, call="", flaw="", blame="", evidence=(0, 0), outcome=outcome)
    return way


def _cells() -> Iterator[Cell]:
    for name, column in COLUMNS.items():
        for mode, stream in MODES.items():
            for way in WAYS if column.tools else TEXT_WAYS:
                yield Cell(f"{name}-{mode}-{way.name}", column, stream, right_way(column, way, stream=stream))


CELLS: Final = {cell.name: cell for cell in _cells()}


def entry(server: SimulatedProviders, name: str, group: str, *, native: bool = False, **params: Any) -> dict[str, Any]:
    """One deployment whose provider has another name for the model than the proxy."""
    where = {"model": f"openai/{PROVIDER}"}
    if native:
        where = {"model": f"anthropic/{PROVIDER}", "api_base": f"{server.base_url}/p/{name}"}
    return deployment(server, name, group, info={"provider": PROVIDER}, **where, **params)


def pair(server: SimulatedProviders, cell: Cell) -> Iterator[dict[str, Any]]:
    """Both deployments of a cell; the operator's weights and the prices put them in the same order."""
    for name, price, weight in ((cell.first, 1, 1), (cell.spare, 2, 0)):
        params = {"weight": weight, **prices(price, price)}
        yield entry(server, name, cell.name, native=cell.column.native, **params)


def at_once(proxy: Proxy, asking: Sequence[Callable[[Clients], Coroutine[Any, Any, Any]]]) -> list[Any]:
    """What each of these got or raised, asked at the same time, or nearly."""

    async def limited(turn: asyncio.Semaphore, clients: Clients, ask: Any) -> Any:
        async with turn:
            return await ask(clients)

    async def all_of_them() -> list[Any]:
        turn = asyncio.Semaphore(AT_ONCE)
        async with Clients(proxy.base_url) as clients:
            return await asyncio.gather(*(limited(turn, clients, ask) for ask in asking), return_exceptions=True)

    return asyncio.run(all_of_them())


Counts = dict[str, dict[tuple[str, ...], float]]
_COUNTED: Final = {
    "exacto_tool_call_evaluations_total": ("exacto_deployment_id", "exacto_tool_call_outcome"),
    "exacto_answer_flaws_total": ("exacto_answer_flaw", "exacto_blame"),
    "exacto_deployment_flaws_total": ("exacto_deployment_id", "exacto_blame"),
    "exacto_deployment_attempts_total": ("exacto_tier", "error_type"),
}
NOTHING: Final[Counts] = {name: {} for name in _COUNTED}


def counted(scraped: str) -> tuple[dict[str, Counts], Counter[str]]:
    """What a Prometheus page says: by model group the sums of each metric by its labels, and requests by outcome."""
    groups: dict[str, Counts] = {}
    requests: Counter[str] = Counter()
    for family in text_string_to_metric_families(scraped):
        for sample in family.samples:
            if sample.name == "exacto_requests_total":
                requests[sample.labels["exacto_request_outcome"]] += int(sample.value)
            if sample.name in _COUNTED:
                found = groups.setdefault(sample.labels["exacto_model_group"], {name: {} for name in _COUNTED})
                key = tuple(sample.labels.get(label, "") for label in _COUNTED[sample.name])
                found[sample.name][key] = found[sample.name].get(key, 0.0) + sample.value
    return groups, requests


def right_counts(cell: Cell) -> Counts:
    """What must have been counted of a cell's model group."""
    way = cell.way
    answered = way.outcome not in ("", "client_disconnect") and not cell.fails
    attempts: dict[tuple[str, ...], float] = {(INSUFFICIENT, ""): 1.0} if answered else {}
    if way.error:
        attempts[INSUFFICIENT, way.error] = 1.0
    return {
        "exacto_tool_call_evaluations_total": {(cell.served, way.call): 1.0} if way.call and not cell.fails else {},
        "exacto_answer_flaws_total": {(way.flaw, way.blame): 1.0} if way.flaw else {},
        "exacto_deployment_flaws_total": {(cell.served, way.blame): 1.0} if way.blame in ("provider", "limit") else {},
        "exacto_deployment_attempts_total": attempts,
    }


def evidence(verdicts: Mapping[str, Any], name: str) -> tuple[int, int]:
    """Answers of a deployment that tiers count, and how many of them count against it."""
    signal = verdicts.get(name, {"signals": {}})["signals"].get("tool_call_success")
    if signal is None or not signal["samples"]:
        return 0, 0
    return signal["samples"], round(signal["samples"] * (1.0 - signal["value"]))
