"""Replay of presets over a recorded log of samples.

The log is JSON lines. A line with ``"type": "sample"`` is one finished answer or failed attempt, with the wire names of
``exacto_plugin.core.model.Sample``, of which ``model_group``, ``deployment`` and ``at`` (seconds since the epoch) are
required; it holds no text and no key:

    {"type": "sample", "model_group": "kimi-k2", "deployment": "novita", "at": 1767225630.2, "tools_offered": true,
     "outcome": "schema_mismatch", "output_tokens": 211, "duration_s": 3.4, "streamed": false, "caller": "5f1c", ...}

A line with ``"type": "roster"`` lists the deployments that serve a model group from then on, with their prices per
token or
null; without such lines a deployment serves from its first sample on, and all prices are unknown:

    {"type": "roster", "model_group": "kimi-k2", "at": 1767225600.0, "deployments": {"novita": 2.2e-6, "volc": null}}

Lines are in order of time. Tiers are exact for the recorded evidence: the engine gets the same samples. Bad calls are
an estimate, because the answers of other deployments are not known: every request of the log is distributed as the
preset would have, and fails at the rate that its deployment had in the log around that hour. A preset in force would
also have collected other evidence.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from exacto_plugin.config.messages import format_validation_error
from exacto_plugin.core.engine.engine import Engine
from exacto_plugin.core.model import Candidate, DeploymentKey, LiteLLMId, Mode, Outcome, Sample, Snapshot, Transition
from exacto_plugin.core.routing.ordering import RoutingRequest, probe_shares
from exacto_plugin.core.routing.policy import Policy
from exacto_plugin.core.wire import wire_names
from exacto_plugin.errors import SettingsError
from exacto_plugin.simulate.pick_shares import shares
from exacto_plugin.simulate.world import PRICE_POWER
from exacto_plugin.store.sample_log import members_line, sample_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path
    from typing import TextIO

    from exacto_plugin.simulate.presets import NamedPreset

Name = TypeVar("Name", bound=str)

PRIOR_CALLS = 20.0
"""Weight of a deployment's overall rate in its rate of an hour, in calls."""

HOUR_S = 3600.0


class MembersEntry(BaseModel):
    """The deployments that serve a model group from a time on."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    type: Literal["roster"] = "roster"
    model_group: Annotated[str, Field(min_length=1)]
    at: Annotated[float, Field(allow_inf_nan=False)]
    deployments: dict[DeploymentKey, float | None]
    """Price per token, or null."""


_SAMPLE = TypeAdapter(Sample)
_WIRE = wire_names(Sample)
_ATTRIBUTES = {name: attribute for attribute, name in _WIRE.items()}


def read_log(file: Path) -> Iterator[MembersEntry | Sample]:
    """Read the entries of a log, one by one.

    Raises:
        SettingsError: the file cannot be read; or a line is no entry, with its number and the key.
    """
    last = -math.inf
    try:
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    entry = _entry(line, f"{file.name}:{number}")
                    if not last <= entry.at < math.inf:
                        raise SettingsError(f"{file.name}:{number}.at: got {entry.at}, expected no less than {last}")
                    last = entry.at
                    yield entry
    except OSError as error:
        raise SettingsError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{file}: cannot be read: {error}") from None


def _entry(line: str, where: str) -> MembersEntry | Sample:
    try:
        content = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise SettingsError(f"{where}: not JSON: {error}") from None
    if not isinstance(content, dict) or content.get("type", "sample") not in ("sample", "roster"):
        raise SettingsError(f"{where}.type: expected a mapping of the type sample or roster")
    try:
        if content.get("type") == "roster":
            return MembersEntry.model_validate(content)
        content.pop("type", None)
        if unknown := sorted(content.keys() - _ATTRIBUTES.keys()):
            raise SettingsError(f"{where}.{unknown[0]}: unknown key, expected one of {', '.join(sorted(_ATTRIBUTES))}")
        return _SAMPLE.validate_python({_ATTRIBUTES[name]: value for name, value in content.items()})
    except ValidationError as error:
        if content.get("type") == "roster":
            raise SettingsError(format_validation_error(error, MembersEntry, where)) from None
        first = error.errors(include_url=False, include_input=False)[0]
        key, *within = first["loc"]
        path = ".".join([_WIRE[str(key)], *map(str, within)])
        raise SettingsError(f"{where}.{path}: {first['msg'].lower()}") from None


class LogWriter:
    """A writer of a simulation's log."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def roster(self, model_group: str, prices: Mapping[DeploymentKey, float | None], at: float) -> None:
        """Write the deployments that serve a model group as of a time."""
        self._out.write(f"{members_line(model_group, prices, at)}\n")

    def sample(self, sample: Sample) -> None:
        """Write one sample; fields at their defaults are left out."""
        self._out.write(f"{sample_line(sample)}\n")


@dataclass
class ReplayCounts:
    """Requests of one deployment: with tools, with a tool-call attempt, failed."""

    offered: float = 0.0
    attempted: float = 0.0
    failed: float = 0.0

    def add(self, sample: Sample) -> None:
        """Count one sample with tools."""
        attempted = sample.lost or sample.outcome not in (None, Outcome.UNSCORED)
        self.offered += 1.0
        self.attempted += attempted
        self.failed += attempted and (sample.lost or sample.outcome is not Outcome.VALID)


class Rates:
    """Error rates of deployments per hour of a log.

    An hour with few calls is shrunk towards the rate of the whole log.
    """

    def __init__(self, entries: Iterable[MembersEntry | Sample]) -> None:
        self.observed: dict[str, ReplayCounts] = defaultdict(ReplayCounts)
        """By model group."""
        self.picks: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        self._whole: dict[tuple[str, str], ReplayCounts] = defaultdict(ReplayCounts)
        self._hours: dict[tuple[str, str, int], ReplayCounts] = defaultdict(ReplayCounts)
        for entry in entries:
            if not isinstance(entry, Sample) or not entry.ok or not entry.tools_offered:
                continue
            key = (entry.model_group, entry.deployment)
            self._whole[key].add(entry)
            self._hours[(*key, int(entry.at // HOUR_S))].add(entry)
            if entry.routed:
                self.observed[entry.model_group].add(entry)
                self.picks[entry.model_group][entry.deployment] += 1

    def per_request(self, model_group: str, deployment: str, at: float) -> tuple[float, float]:
        """Return the expected tool calls and failed ones of one more request.

        Both are 0 where nothing is known.
        """
        whole = self._whole.get((model_group, deployment))
        if whole is None:
            return 0.0, 0.0
        hour = self._hours.get((model_group, deployment, int(at // HOUR_S)), ReplayCounts())
        means = (hour.attempted + PRIOR_CALLS * whole.attempted / whole.offered) / (hour.offered + PRIOR_CALLS)
        if not whole.attempted:
            return 0.0, 0.0
        fails = (hour.failed + PRIOR_CALLS * whole.failed / whole.attempted) / (hour.attempted + PRIOR_CALLS)
        return means, means * fails


@dataclass
class GroupOutcome:
    """The outcome of a preset for one model group."""

    picks: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    calls: float = 0.0
    bad: float = 0.0
    transitions: list[Transition] = field(default_factory=list)

    @property
    def error(self) -> float:
        """Expected share of bad calls."""
        return self.bad / self.calls if self.calls else math.nan


class Replay:
    """One preset over one log."""

    def __init__(self, preset: NamedPreset, rates: Rates, interval_s: float = 300.0) -> None:
        self._engine = Engine(preset.rule) if preset.rule is not None else None
        self._rates = rates
        self._interval_s = interval_s
        self._due = math.nan
        self._prices: dict[str, dict[DeploymentKey, float | None]] = {}
        self._listed: set[str] = set()
        self._waiting: dict[str, int] = defaultdict(int)
        self.groups: dict[str, GroupOutcome] = defaultdict(GroupOutcome)

    @property
    def engine(self) -> Engine | None:
        """The engine; None without a preset."""
        return self._engine

    def go(self, entries: Iterable[MembersEntry | Sample]) -> None:
        """Process a whole log and recompute one last time after it."""
        for entry in entries:
            if math.isnan(self._due):
                self._due = (entry.at // self._interval_s + 1) * self._interval_s
            while entry.at >= self._due:
                self._recompute()
            if isinstance(entry, MembersEntry):
                self._listed.add(entry.model_group)
                self._serve(entry.model_group, dict(entry.deployments), entry.at)
            else:
                self._take(entry)
        if not math.isnan(self._due):
            self._recompute()

    def _take(self, sample: Sample) -> None:
        group = sample.model_group
        if group not in self._listed and sample.deployment not in self._prices.get(group, {}):
            self._serve(group, {**self._prices.get(group, {}), sample.deployment: None}, sample.at)
        if self._engine is not None:
            self._engine.record(sample)
        if sample.ok and sample.tools_offered and sample.routed:
            self._waiting[group] += 1

    def _serve(self, group: str, prices: dict[DeploymentKey, float | None], at: float) -> None:
        self._spread(group)
        self._prices[group] = prices
        if self._engine is not None:
            known = {name: price for name, price in prices.items() if price is not None}
            self._engine.observe_peers(group, prices, at, weights=_weights(prices), prices=known)

    def _recompute(self) -> None:
        for group in list(self._waiting):
            self._spread(group)
        if self._engine is not None:
            self._engine.recompute(self._due)
            for change in self._engine.transitions:
                self.groups[change.model_group].transitions.append(change)
        self._due += self._interval_s

    def _spread(self, group: str) -> None:
        """Distribute the requests since the last change by the snapshot in force."""
        requests = self._waiting.pop(group, 0)
        prices = self._prices.get(group)
        if not requests or not prices:
            return
        candidates = [Candidate(LiteLLMId(name), DeploymentKey(name)) for name in prices]
        mode, snapshot = (Mode.OFF, Snapshot("", 0.0)) if self._engine is None else (Mode.APPLY, self._engine.snapshot)
        ask = RoutingRequest(group, candidates, Policy(), tools=True, mode=mode)
        probed = probe_shares(ask, snapshot)
        rest = 1.0 - sum(probed.values())
        found = shares(ask, snapshot, _weights({LiteLLMId(name): price for name, price in prices.items()}))
        outcome = self.groups[group]
        at = self._due - self._interval_s
        for name in found:
            share = rest * found[name] + probed.get(DeploymentKey(name), 0.0)
            calls, bad = self._rates.per_request(group, name, at)
            outcome.picks[name] += requests * share
            outcome.calls += requests * share * calls
            outcome.bad += requests * share * bad


def _weights(prices: Mapping[Name, float | None]) -> dict[Name, float]:
    """Return the weights of the lottery by price; equal if a price is unknown."""
    known = {name: price for name, price in prices.items() if price}
    return {name: price**PRICE_POWER if len(known) == len(prices) and price else 1.0 for name, price in prices.items()}
