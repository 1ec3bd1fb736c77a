"""A scenario file: the providers of one model group, events, and callers.

Only the file's fields and their limits; draws are made in :mod:`exacto_plugin.simulate.world`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from exacto_plugin.config.messages import format_validation_error
from exacto_plugin.config.sources import read_text, read_yaml
from exacto_plugin.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

Rate = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
Hours = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1)]
Quarters = tuple[Rate, Rate, Rate, Rate]
Factor = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Factors = tuple[Factor, Factor, Factor, Factor]

SELECTORS = ("@cheapest_good", "@cheapest_bad", "@dearest_good", "@worst")
"""Providers selected by their state in this draw of prices, at the event's time.

"good" is near the best rate."""


class _ScenarioPart(BaseModel):
    """A part of a scenario; unknown keys are refused.

    Fields are documented by their docstrings.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True)


class Provider(_ScenarioPart):
    """One deployment of the model group."""

    name: Name
    error_rate: Rate = 0.0
    """Share of evaluated tool calls that are bad."""
    lost_rate: Rate = 0.0
    """Share of attempted tool calls that arrive as something else."""
    propensity: Rate = 0.5
    """Share of requests with tools that attempt a tool call."""
    tokens_per_s: Positive | None = None
    """Median end-to-end speed of long answers; null: too short to measure a speed."""
    price: Positive | None = None
    """Price per token in any unit; null: drawn from a lognormal distribution."""
    capacity_rpm: Positive | None = None
    """Limit in requests a minute; null: none. LiteLLM leaves out a full deployment."""
    refuses_above_rpm: Positive | None = None
    """Limit in requests a minute that nobody declares; null: none.

    The provider refuses the rest (429). The client gets the error: there are no retries and no cooldowns."""
    error_factors: Factors | None = None
    """Factors on its rates by bucket of complexity; null: those of ``complexity``."""


class EventKind(StrEnum):
    """The kinds of event of a provider."""

    BREAK = "break"
    """It turns bad; its derank is timed."""
    FIX = "fix"
    """It turns good; its way out of the last tier is timed."""
    NEWCOMER = "newcomer"
    """It joins the fleet; its way to verified good is timed."""
    LEAVE = "leave"
    CHANGE = "change"
    """Anything else: new rates, another price or speed. Nothing is timed."""


class ScenarioEvent(_ScenarioPart):
    """One event at one time."""

    at_h: Hours
    kind: EventKind
    provider: Name
    """A name, or one of the selectors, ``@cheapest_good`` for example."""
    error_rate: Rate | None = None
    """The new rate; null: 25 % for ``break``, 0.2 % for ``fix``, else unchanged."""
    lost_rate: Rate | None = None
    propensity: Rate | None = None
    tokens_per_s: Positive | None = None
    price: Positive | None = None
    price_factor: Positive | None = None
    """The price is multiplied by this."""
    every_h: Annotated[float, Field(ge=0.01, allow_inf_nan=False)] | None = None
    """Hours after which it happens again, to the end; null: it happens once."""

    @model_validator(mode="after")
    def _selector_exists(self) -> Self:
        if self.provider.startswith("@") and self.provider not in SELECTORS:
            raise ValueError(f"provider: expected a name or one of {', '.join(SELECTORS)}, got {self.provider!r}")
        if self.provider.startswith("@") and self.kind is EventKind.NEWCOMER:
            raise ValueError(f"provider: expected the name of the newcomer, got {self.provider!r}")
        return self


class Pinned(_ScenarioPart):
    """Callers that select the deployment themselves, without the router."""

    share: Rate = 0.0
    """Share of all requests."""
    provider: Name | None = None
    """Target of all of them; null: spread evenly."""
    complexity: Annotated[int, Field(ge=0, le=3)] | None = None
    """Their bucket of complexity; null: as for all others."""


class Hostile(_ScenarioPart):
    """One caller whose tool calls fail, by its own fault or on purpose."""

    share: Rate = 0.0
    """Share of all requests."""
    error_rate: Rate = 0.6
    provider: Name | None = None
    """Provider that it pins itself to and fails at.

    null: it is routed like all others and fails everywhere."""


class Complexity(_ScenarioPart):
    """The difficulty of the tool calls, in the four buckets of the case mix."""

    shares: Quarters = (1.0, 0.0, 0.0, 0.0)
    """Share of requests by bucket; adds up to 1."""
    error_factors: Factors = (1.0, 1.0, 1.0, 1.0)
    """Factors on a provider's rates, by bucket."""

    @model_validator(mode="after")
    def _sums_to_one(self) -> Self:
        if abs(sum(self.shares) - 1.0) > 1e-6:
            raise ValueError(f"shares: expected four numbers that add up to 1, got {list(self.shares)}")
        return self


class PriceWalk(_ScenarioPart):
    """The distribution of prices that are not given."""

    sigma: Annotated[float, Field(ge=0.0, le=3.0)] = 0.35
    """Standard deviation of the logarithm.

    Assumed: public price lists of open-weights models spread about so."""
    rho: Annotated[float, Field(ge=-1.0, le=1.0)] = 0.0
    """Coupling to quality; 0.6: bad providers tend to be cheaper, -0.6: dearer."""


class Scenario(_ScenarioPart):
    """One model group, its providers over time and its traffic."""

    title: str = ""
    note: str = ""
    model_group: Name = "model"
    hours: Annotated[float, Field(gt=0.0, le=24.0 * 366)] = 96.0
    measure_from_h: Hours = 0.0
    """Hour from which routing figures count; the time before is the warm-up.

    Detections and deranks count from the start."""
    observe_h: Hours = 0.0
    """Hours in which tiers are only observed and LiteLLM's lottery chooses.

    A careful operator starts like this."""
    requests_per_minute: Positive = 100.0
    """Mean of requests that offer tools."""
    day_night: Rate = 0.0
    """Swing of the traffic around its mean, with its peak at 14:00.

    0.8: nights have a ninth of the days' traffic."""
    session_requests: Annotated[int, Field(ge=1, le=1000)] = 1
    """Requests of one session, with a common fate and one deployment."""
    icc: Rate = 0.0
    """Correlation of errors inside a session; 1: all of its calls fail or none."""
    callers: Annotated[int, Field(ge=1, le=100_000)] = 40
    """Keys behind the traffic, all equally busy."""
    streamed_share: Rate = 0.5
    speed_sigma: Annotated[float, Field(ge=0.0, le=2.0)] = 0.3
    """Spread of one provider's speeds, standard deviation of the logarithm."""
    tolerance: Rate = 0.02
    """Greatest distance from the best failure rate at which a provider is good.

    The oracle chooses from the good ones."""
    pinned: Pinned = Pinned()
    hostile: Hostile = Hostile()
    complexity: Complexity = Complexity()
    prices: PriceWalk = PriceWalk()
    providers: Annotated[tuple[Provider, ...], Field(min_length=1)]
    events: tuple[ScenarioEvent, ...] = ()

    def timeline(self) -> list[ScenarioEvent]:
        """Return all events in the order of their times, repeated ones one by one."""
        found = []
        for event in self.events:
            every_h = event.every_h or math.inf
            number = 0
            while (at_h := event.at_h + (number * every_h if number else 0.0)) <= max(self.hours, event.at_h):
                found.append(event.model_copy(update={"at_h": at_h}))
                number += 1
        return sorted(found, key=lambda event: event.at_h)

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        names = [provider.name for provider in self.providers]
        for name in names:
            if names.count(name) > 1 or name.startswith("@"):
                raise ValueError(f"providers: expected different names without @, got {name!r}")
        joining = {event.provider for event in self.events if event.kind is EventKind.NEWCOMER}
        named = [("events", event.provider) for event in self.events if not event.provider.startswith("@")]
        parts = {"pinned": self.pinned.provider, "hostile": self.hostile.provider}
        named += [(part, name) for part, name in parts.items() if name is not None]
        for part, name in named:
            if name not in names and name not in joining:
                raise ValueError(
                    f"{part}: expected providers among {', '.join([*names, *sorted(joining)])}, got {name!r}"
                )
        if self.pinned.share + self.hostile.share > 1.0:
            raise ValueError(f"hostile: expected a share of at most 1 with that of pinned, got {self.hostile.share}")
        return self


def parse_scenario(content: object, path: str) -> Scenario:
    """Parse a scenario from parsed YAML or JSON.

    Raises:
        SettingsError: one line for each fault, each with the key and the expected form.
    """
    if not isinstance(content, Mapping):
        raise SettingsError(f"{path}: expected a mapping with providers")
    try:
        return Scenario.model_validate(dict(content))
    except ValidationError as error:
        raise SettingsError(format_validation_error(error, Scenario, path)) from None


def read_scenario(path: Path) -> Scenario:
    """Read a scenario from a file, YAML or JSON.

    Raises:
        SettingsError: the file cannot be read or has no valid scenario.
    """
    return parse_scenario(_json(path) if path.suffix == ".json" else read_yaml(path), path.name)


def _json(path: Path) -> object:
    try:
        return json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        fault = f"{error.msg}, line {error.lineno}" if isinstance(error, json.JSONDecodeError) else "nested too deeply"
    raise SettingsError(f"{path}: not valid JSON: {fault}")
