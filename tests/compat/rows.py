"""The rows: for each feature the deployments, what is asked, what is right, and the control without the feature.

``{group}`` in a model or a field stands for the row's model group; a deployment's id is the group's name, a hyphen and
its part. LiteLLM's own shuffle picks by declared weight, so that without the feature the wrong one is asked most often.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from exacto_plugin.demo.behaviour import Act
from tests.compat.cases import (
    RIGHT,
    WRONG,
    answered,
    answered_anyhow,
    left_alone,
    malformed,
    named,
    refused,
    walked,
)

if TYPE_CHECKING:
    from tests.compat.cases import Judge

ASKS: Final = 20
"""Requests of a row."""
CONTROLS: Final = 10
"""Requests of its control."""
MOST: Final = 18
"""Right answers that a row needs where chance has a part: at most 2 of 20 go astray."""
CONTROL_MOST: Final = 6
"""Right answers that a control may have at most. By chance at most a tenth of the requests take the feature's way:
more than this many of a control do in about 1 of 6,000 runs (binomial, all controls together)."""

Channel = Literal["proxy", "async", "sync"]
"""Through which a row is asked: the proxy, or a program's router, awaited or not."""
PROXY: Final[tuple[Channel, ...]] = ("proxy",)
ALL: Final[tuple[Channel, ...]] = ("proxy", "async", "sync")
SurfaceName = Literal["chat", "responses", "messages"]
Verdicts = Sequence[Mapping[str, Any]]
"""The deployments of a model group, as ``/exacto/api/models`` and ``Exacto.tiers`` show them."""

_HEAVY: Final = 10**6
"""A weight beside which another one's 1 is never drawn."""
KEY: Final = "sk-with-an-alias"
ALIAS: Final = "mine"


@dataclass(frozen=True, slots=True)
class Deployment:
    """One deployment of a row, and how the simulated provider behind it behaves."""

    part: str
    weight: int = 1
    behaviour: Mapping[str, Any] = field(default_factory=dict)
    price: float = 1.0
    """USD per million tokens."""
    group: str = "{group}"
    """Another model group than the row's."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request."""

    model: str = "{group}"
    body: Mapping[str, Any] = field(default_factory=dict)
    """Further fields."""
    surface: SurfaceName = "chat"
    stream: bool = False
    tools: bool = True
    key: str | None = None
    """API key; None: the master key."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    name: str
    deployments: tuple[Deployment, ...]
    right: Judge
    ask: Ask = Ask()
    control: Ask | None = None
    """The same without the feature, asked of the same deployments; None where ``off`` is the control, or there is none:
    a row that is not about routing."""
    off: bool = False
    """The control is the same request to a model group with ``mode: off``."""
    features: tuple[str, ...] = ()
    """Features that explain a wrong row when the plugin says that one of them is off."""
    needed: int = ASKS
    """Right answers that make the row ok."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of the row's model group."""
    curated: tuple[str, ...] = ()
    """The curated list of the row's model group."""
    warm_rounds: int = 0
    """Rounds of the row's requests before those that count, each followed by a recompute."""
    measured: bool = False
    """Whether every deployment is called by its id before, so that its speed is known."""
    tally: Callable[[Verdicts], int] | None = None
    """What the plugin must have counted: the row has no more right answers than this tells."""
    promise: bool = False
    """Whether the feature is a promise: where it is off, a request must be refused rather than answered wrongly."""
    on: tuple[Channel, ...] = PROXY
    conversation: bool = False
    """Whether the requests are one conversation: one after the other, and right where the first one was answered."""


def _pair(**behaviour: Any) -> tuple[Deployment, ...]:
    """The right one, and a wrong one with this behaviour that LiteLLM always picks."""
    return (Deployment(RIGHT), Deployment(WRONG, _HEAVY, behaviour))


def _same(number: int = 2) -> tuple[Deployment, ...]:
    """Deployments any of which is right."""
    return tuple(Deployment(f"{RIGHT}-{one}") for one in range(number))


def counted(deployments: Verdicts) -> int:
    """Answers with tool calls that count as evidence."""
    return sum(int(one["signals"].get("tool_call_success", {"samples": 0})["samples"]) for one in deployments)


def flaws(deployments: Verdicts) -> int:
    """Flaws of answers."""
    return sum(sum(one["flaws"].values()) for one in deployments)


_PRICED: Final = (Deployment(RIGHT), Deployment(WRONG, 9, price=2.0))
_TIMED: Final = (
    Deployment(RIGHT, behaviour={"completion_tokens": 200}),
    Deployment(WRONG, 9, {"completion_tokens": 200, "latency_s": 1.5}),
)
_BAD: Final = {"always": Act.INVALID_JSON}
_NO_TIERS: Final = {"default_sort": "none"}
"""So that nothing but the row's own feature leads away from a bad deployment."""

_PLAIN: Final = (
    Row("plain", _same(), answered_anyhow, Ask(tools=False), on=ALL),
    Row("tools", _same(), answered_anyhow),
    Row("stream", _same(), answered_anyhow, Ask(stream=True)),
    Row("headers", _same(3), named, features=("tiers",)),
)
_CHOICES: Final = (
    Row("exacto", _pair(), answered, Ask("{group}:exacto"), Ask(), features=("filters",), settings=_NO_TIERS,
        curated=(RIGHT,), promise=True, on=ALL),
    Row("exacto-404", _same(1), refused, Ask("{group}:exacto"), Ask(), features=("filters",), curated=("nobody",),
        promise=True, on=ALL),
    Row("floor", _PRICED, answered, Ask("{group}:floor"), Ask(), features=("sorts",), settings=_NO_TIERS, on=ALL),
    Row("sort-price", _PRICED, answered, Ask(body={"provider": {"sort": "price"}}), Ask(), features=("sorts",),
        settings=_NO_TIERS, on=ALL),
    Row("sort-throughput", _TIMED, answered, Ask(body={"provider": {"sort": "throughput"}}), Ask(),
        features=("sorts", "scoring"), settings=_NO_TIERS, measured=True),
    Row("only", _pair(), answered, Ask(body={"provider": {"only": ["{group}-right-inc"]}}), Ask(),
        features=("filters",), settings=_NO_TIERS, on=ALL),
    Row("only-404", _same(1), refused, Ask(body={"provider": {"only": ["nobody"]}}), Ask(), features=("filters",),
        on=ALL),
    Row("malformed-400", _same(1), malformed, Ask(body={"provider": {"sort": "luck"}}), Ask(), on=ALL),
)  # fmt: skip

_SECOND: Final = {"models": ["{group}-first", "{group}:floor"]}
_WITHOUT: Final = {"models": ["{group}-first", "{group}"]}
_WAYS: Final = (
    Row("models", (Deployment(WRONG, behaviour={"always": 500}, group="{group}-first"), _PRICED[0],
                   Deployment("dear", 9, price=2.0)), walked, Ask("{group}-first", _SECOND),
        Ask("{group}-first", _WITHOUT), features=("sorts",), settings=_NO_TIERS),
    Row("failover", (*_pair(always=402), Deployment(f"{RIGHT}-2")), walked, Ask(), Ask(body={"num_retries": 0}),
        features=("failover",), settings=_NO_TIERS, on=ALL),
)  # fmt: skip


def _rescue(surface: SurfaceName, stream: bool) -> Row:
    name = f"rescue-{surface}{'-stream' if stream else ''}"
    features = ("rescue", "rescue_streams") if stream else ("rescue",)
    on = ALL if surface == "chat" else PROXY
    ask = Ask(surface=surface, stream=stream)
    return Row(name, _pair(**_BAD), walked, ask, off=True, features=features, settings=_NO_TIERS, on=on)


_TIERED: Final = (
    *(Deployment(f"{RIGHT}-{one}") for one in (1, 2)),
    Deployment(WRONG, 18, {"error_rate": 0.7}),
)
_MEASURED: Final = (
    Row("tiers", _TIERED, answered, off=True, features=("tiers",), needed=MOST, warm_rounds=3, on=ALL),
    Row("affinity", _same(10), answered_anyhow, Ask(body={"session_id": "{group}"}), off=True, features=("affinity",),
        conversation=True),
    Row("evidence", _same(), answered_anyhow, features=("scoring",), needed=MOST + 1, tally=counted, on=ALL),
    Row("flaws", (Deployment(RIGHT, behaviour=_BAD),), left_alone, features=("scoring",), tally=flaws),
    Row("pinned", (Deployment(RIGHT, behaviour={"always": Act.SCHEMA_MISMATCH}), Deployment(WRONG, _HEAVY)), left_alone,
        Ask("{group}-right"), Ask(), features=("scoring",), settings=_NO_TIERS, tally=flaws),
    Row("aliases", _PRICED, answered, Ask(f"{ALIAS}:floor", key=KEY), Ask(ALIAS, key=KEY),
        features=("aliases", "sorts"), settings=_NO_TIERS),
)  # fmt: skip

ROWS: Final = (
    *_PLAIN,
    *_CHOICES,
    *_WAYS,
    *(_rescue(surface, stream) for surface in ("chat", "responses", "messages") for stream in (False, True)),
    *_MEASURED,
)
