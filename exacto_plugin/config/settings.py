"""The ``exacto_settings:`` block as immutable models, with sources of defaults.

Reads no files and does not import LiteLLM; the block is read by :mod:`exacto_plugin.config.sources`. Every setting
has an effect, and unknown keys stop the start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import is_dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)

from exacto_plugin.config.hard_filters import DefaultSort, HardFilterSettings, no_bool
from exacto_plugin.config.messages import format_validation_error
from exacto_plugin.core.model import Flaw, Mode, Sort
from exacto_plugin.core.routing.affinity import IDLE_S
from exacto_plugin.core.scoring.attribution import LossPolicy
from exacto_plugin.core.scoring.evaluator import EmptyArguments
from exacto_plugin.core.scoring.flaws import LOSSES
from exacto_plugin.core.scoring.json_schema.engine import EngineSetting
from exacto_plugin.core.tiers.adaptive.judge import AdaptivePreset
from exacto_plugin.core.tiers.adaptive.parameters import EXPLORATION_SHARE, AdaptiveParameters
from exacto_plugin.core.tiers.openrouter import OpenRouterParameters, OpenRouterPreset
from exacto_plugin.errors import SettingsError
from exacto_plugin.record_kinds import LEAST_DAYS, RecordKind

if TYPE_CHECKING:
    from exacto_plugin.core.routing.policy import Filter
    from exacto_plugin.core.tiers.columns import Preset

BLOCK = "exacto_settings"
"""Key of the block in LiteLLM's ``config.yaml``."""


HiddenFlaw = Literal[Flaw.MISSING_CALL, Flaw.LEAKED_MARKUP, Flaw.IGNORED_CHOICE, Flaw.DUPLICATE_ID]
"""The provider's flaws that the published error rate does not include."""


class TierPreset(StrEnum):
    """The rule that turns measurements into tiers."""

    ADAPTIVE = "adaptive"
    """Exact tests against the other deployments, with state and measured readmission."""
    OPENROUTER = "openrouter"
    """The rule and the numbers that OpenRouter publishes for Auto Exacto."""


def _yaml_off(value: object) -> object:
    """Convert false to ``off``: YAML 1.1 reads an unquoted ``off`` as false."""
    return "off" if value is False else value


def _no_bools(block: object) -> object:
    """Refuse booleans for the numbers of a part.

    A key that is no identifier is left to the check for unknown keys.
    """
    if isinstance(block, Mapping):
        for key, value in block.items():
            if isinstance(value, bool) and str(key).isidentifier():
                raise ValueError(f"{key}: expected a number, got {str(value).lower()}")
    return block


def _no_bools_but_propensity(block: object) -> object:
    """Refuse booleans for the numbers of the adaptive rule, which has one switch."""
    if isinstance(block, Mapping):
        _no_bools({key: value for key, value in block.items() if key != "propensity_deranks"})
    return block


ModeSetting = Annotated[Mode, BeforeValidator(_yaml_off)]
Share = Annotated[float, BeforeValidator(no_bool), Field(ge=0.0, le=1.0, allow_inf_nan=False)]
Seconds = Annotated[float, BeforeValidator(no_bool), Field(gt=0.0, allow_inf_nan=False)]
Days = Annotated[float, BeforeValidator(no_bool), Field(gt=0.0, le=36_500.0)]
Count = Annotated[int, BeforeValidator(no_bool), Field(ge=1)]
Name = Annotated[str, Field(min_length=1)]
CuratedList = Annotated[tuple[Name, ...], Field(min_length=1)]


def _is_part(annotation: object) -> bool:
    """Check that a field is written as a mapping."""
    if isinstance(annotation, type):
        return issubclass(annotation, _Block) or is_dataclass(annotation)
    return getattr(annotation, "__origin__", None) is Mapping


class _Block(BaseModel):
    """A part of the configuration: immutable, without unknown keys.

    The docstrings of its fields are its documentation.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _empty_parts(cls, block: Any) -> Any:
        """Replace an empty part (YAML: null) by its defaults."""
        if not isinstance(block, Mapping):
            return block
        parts = {name for name, field in cls.model_fields.items() if _is_part(field.annotation)}
        return {key: {} if value is None and key in parts else value for key, value in block.items()}


class GroupSettings(_Block, HardFilterSettings):
    """Settings of one model group; without a value the global one holds."""

    mode: ModeSetting | None = None
    """As the global ``mode``, for this model group."""
    apply_share: Share | None = None
    """As the global ``apply_share``, for this model group."""
    default_sort: DefaultSort | None = None
    """As the global ``default_sort``, for this model group."""


class ExposeSettings(_Block):
    """Data that clients may see."""

    headers: bool = True
    """Send the ``x-exacto-*`` response headers.
    On by default: they contain nothing secret for a client that may call the model."""
    providers: bool = True
    """Name the available providers in errors.
    To be turned off where the list of providers is confidential."""
    variants: bool = False
    """Add ``x:exacto``, ``x:floor`` and ``x:nitro`` for each ``x`` to ``/v1/models``.
    For clients that refuse names which are not listed. Off by default: the list then has the configured names only."""


class TierSettings(_Block):
    """Settings of the rule that turns measurements into tiers."""

    preset: TierPreset = TierPreset.ADAPTIVE
    """The rule of tiers, ``adaptive`` or ``openrouter``.
    ``adaptive`` works from 2 deployments and one request a minute. ``openrouter``, the published rule, needs 4
    deployments with 100 to 200 recent answers each."""
    recompute_interval_s: Seconds = 300.0
    """Seconds between two recomputes.
    5 minutes is OpenRouter's published interval for Auto Exacto."""
    openrouter: Annotated[OpenRouterParameters, BeforeValidator(_no_bools)] = OpenRouterParameters()
    """The numbers of the preset ``openrouter``."""
    adaptive: Annotated[AdaptiveParameters, BeforeValidator(_no_bools_but_propensity)] = AdaptiveParameters()
    """The numbers of the preset ``adaptive``."""

    def rule(self) -> AdaptiveParameters | OpenRouterParameters:
        """Return the parameters of the chosen preset."""
        return self.adaptive if self.preset is TierPreset.ADAPTIVE else self.openrouter


class ExplorationSettings(_Block):
    """Limits on the cost of measuring deployments."""

    share: Share = EXPLORATION_SHARE
    """Share of the requests with tools that may be probes.
    Only ``adaptive`` sends probes; the published rule does not. 0: never."""


class AffinitySettings(_Block):
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


class FailoverSettings(_Block):
    """Limits on the deployments that one request may try."""

    max_attempts: Count | None = None
    """Attempts of one request in a model group, the first included.
    Each goes to another deployment; also after 402, 404 and errors before the first chunk of a chat stream, never
    after 400. A request may ask for fewer (``num_retries``); fallbacks to other model groups count anew. null, the
    default: LiteLLM's own number (``num_retries``)."""


class RescueSettings(_Block):
    """Settings of rescue: another deployment is asked after a bad tool call.

    The client receives no answer before that.
    """

    enabled: bool = False
    """Ask another deployment of the model group after a bad tool call.
    Off by default, since it costs a second answer: a whole answer with a bad tool call is held back until then. The
    client receives the first valid answer; without any, the first."""
    max_attempts: Count = 1
    """Other deployments that one request may be sent to for rescue.
    1: on the K2VV table of 2025-11-15 that leaves about a tenth of the bad calls (measured: benchmarks/rescue.py),
    and a second one costs as much as the first."""
    max_extra_seconds: Seconds = 30.0
    """Longest time beyond the first answer, in seconds, over all attempts."""
    streams: bool = False
    """Rescue streams too.
    Off by default, since tool calls of a stream then arrive at its end, all at once; its text is not delayed."""


def _redis_url(url: SecretStr) -> SecretStr:
    if not url.get_secret_value().startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("expected an address that begins with redis://, rediss:// or unix://")
    return url


class RedisSettings(_Block):
    """Settings of the Redis through which processes share verdicts."""

    enabled: bool = True
    """Share verdicts, probe budgets and conversations through Redis.
    On by default: a LiteLLM with a Redis usually has several proxies, which should use the same verdicts."""
    url: Annotated[SecretStr, AfterValidator(_redis_url)] | None = None
    """``redis://``, ``rediss://`` or ``unix://``.
    null, the default: LiteLLM's own connection where it has one, also to a cluster."""
    namespace: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] = "exacto"
    """Prefix of the keys, to separate installations that share one Redis.
    Needed where they do not serve the same deployments."""


class ScoringSettings(_Block):
    """Settings of the scoring of tool calls."""

    engine: EngineSetting = EngineSetting.AUTO
    """The JSON Schema validator, ``auto``, ``jsonschema_rs`` or ``jsonschema``.
    ``auto``: the compiled validator where it is installed, since it is two orders of magnitude faster (measured)."""
    empty_arguments: EmptyArguments | None = None
    """The reading of ``""`` as arguments, ``empty_object`` or ``invalid_json``.
    null, the default: that of the tier preset; ``adaptive`` reads it as ``{}``, the intended meaning of many
    providers for tools without arguments, ``openrouter`` as invalid JSON."""
    lost_calls: tuple[HiddenFlaw, ...] | None = None
    """Flaws that count as a failed call in addition to bad calls.
    ``missing_call``, ``leaked_markup``, ``ignored_choice``, ``duplicate_id``. null, the default: those of the tier
    preset. ``adaptive`` counts the first three, since tiers by bad calls alone leave 14.2 % of combined failures
    where 2.74 % are attainable (measured on the published K2 table of 2025-10-10); ``openrouter`` none, as published.
    All of them are measured either way."""


class StoreSettings(_Block):
    """Settings of the store for records and for the state that a restart needs."""

    url: SecretStr | None = None
    """The database: SQLite or PostgreSQL.
    ``sqlite:///FILE``, ``postgresql://USER:PASSWORD@HOST/DATABASE``, or ``sqlite://`` for memory. null: on a proxy a
    SQLite file in the directory for state ($XDG_STATE_HOME, ~/.local/state, /var/lib), one for each configuration
    file, and memory where no file can be written; in programs nothing is stored."""
    retention_days: Days = 30.0
    """Days that records are kept. 30: a month of evidence for questions afterwards."""
    retention: Mapping[RecordKind, Days] = Field(default_factory=dict)
    """Days for single kinds of records, instead of ``retention_days``.
    Benchmark scores are kept 90 days at least, since they are weighted for 32 and compared over a quarter."""

    decision_share: Share = 0.01
    """Share of ordinary requests whose decision is recorded.
    Rescues, failovers, probes and refusals are always recorded. One in a hundred shows the ordinary requests, at
    about 1.5 kB each."""

    outcomes: Name | None = None
    """Directory of the sample log, JSON lines for ``exacto replay``.
    A line holds verdict, blame, sizes and times, and no text. None by default: no samples are written."""
    outcomes_mb: Annotated[float, BeforeValidator(no_bool), Field(gt=0.0, le=100_000.0)] = 100.0
    """Megabytes of one such file; ten are kept for each process.
    100: some 500,000 samples."""

    def days(self, kind: RecordKind) -> float:
        """Return the days that a kind of records is kept."""
        return max(self.retention.get(kind, self.retention_days), LEAST_DAYS.get(kind, 0.0))


class Settings(_Block, HardFilterSettings):
    """The whole ``exacto_settings:`` block."""

    mode: ModeSetting = Mode.APPLY
    """``apply`` | ``observe`` | ``off``: the mode of tiers and rescue, nothing else.
    Suffixes, curated lists and explicit sorts apply in every mode, since the client asked for them. ``observe``
    computes and records tiers and applies none."""
    apply_share: Share = 1.0
    """Share of conversations that tiers are applied to, for a gradual rollout.
    The others are only observed. 1: all conversations."""
    default_sort: DefaultSort = Sort.AUTO
    """Order of requests that state none.
    ``auto``: tiers for requests with tools, as OpenRouter does by default; ``exacto``: tiers for every request;
    ``price_weighted``: a random order weighted by 1/price^2; ``price``, ``throughput``, ``latency``: that order;
    ``none``: the operator's own strategy unchanged."""
    curated: Mapping[Name, CuratedList] = Field(default_factory=dict)
    """Allow-lists that ``:exacto`` enforces, by model group.
    Values are providers or deployment ids. None by default; without a list ``:exacto`` means tiers."""
    model_groups: Mapping[Name, GroupSettings] = Field(default_factory=dict)
    """Settings of single model groups: ``mode``, ``apply_share``, ``default_sort``.
    A group's hard filters apply in addition to the global ones."""
    client_preferences: Literal["allow", "deny"] = "allow"
    """Accept ``provider``, ``models`` and suffixes besides ``:exacto`` from clients.
    Allowed by default: a client that may call a model may also state preferences."""
    expose: ExposeSettings = ExposeSettings()
    """Data that clients may see."""
    tiers: TierSettings = TierSettings()
    """Settings of the rule that turns measurements into tiers."""
    exploration: ExplorationSettings = ExplorationSettings()
    """Limits on the cost of measuring deployments."""
    affinity: AffinitySettings = AffinitySettings()
    """Affinity of conversations to their deployment."""
    failover: FailoverSettings = FailoverSettings()
    """Limits on the deployments that one request may try."""
    rescue: RescueSettings = RescueSettings()
    """Rescue: another deployment is asked after a bad tool call."""
    scoring: ScoringSettings = ScoringSettings()
    """Scoring of tool calls."""
    store: StoreSettings = StoreSettings()
    """The store for records and for the state that a restart needs."""
    redis: RedisSettings = RedisSettings()
    """The Redis through which processes share verdicts."""

    def mode_of(self, group: str) -> Mode:
        """Return the mode that holds for a model group."""
        own = self.model_groups.get(group)
        return self.mode if own is None or own.mode is None else own.mode

    def apply_share_of(self, group: str) -> float:
        """Return the share of a model group's conversations that tiers are applied to."""
        own = self.model_groups.get(group)
        return self.apply_share if own is None or own.apply_share is None else own.apply_share

    def default_sort_of(self, group: str) -> Sort:
        """Return the sort of a model group's requests that state none."""
        own = self.model_groups.get(group)
        return self.default_sort if own is None or own.default_sort is None else own.default_sort

    def filters_of(self, group: str) -> tuple[Filter, ...]:
        """Return the operator's hard filters for a model group."""
        return self._imposed.get(group, self._imposed_everywhere)

    @cached_property
    def _imposed_everywhere(self) -> tuple[Filter, ...]:
        return self.filters("set for this proxy")

    @cached_property
    def _imposed(self) -> Mapping[str, tuple[Filter, ...]]:
        everywhere = self._imposed_everywhere
        return {name: (*own.filters("set for this model"), *everywhere) for name, own in self.model_groups.items()}

    def curated_list(self, group: str) -> tuple[str, ...] | None:
        """Return the curated list of a model group; None if none is configured.

        Its entries are providers or deployment ids, the only ones for ``:exacto``.
        """
        return self.curated.get(group)

    @property
    def empty_arguments(self) -> EmptyArguments:
        """The reading of ``""`` in force: the configured one, else the preset's own."""
        published = self.tiers.preset is TierPreset.OPENROUTER
        return self.scoring.empty_arguments or (
            EmptyArguments.INVALID_JSON if published else EmptyArguments.EMPTY_OBJECT
        )

    @property
    def charge(self) -> LossPolicy:
        """The flaws that tiers count.

        The published definition excuses no caller and counts no lost call.
        """
        published = self.tiers.preset is TierPreset.OPENROUTER
        preset = () if published else LOSSES
        losses = preset if self.scoring.lost_calls is None else self.scoring.lost_calls
        return LossPolicy(frozenset(losses), excuses_callers=not published)

    def rule(self) -> Preset:
        """Return the chosen preset with its probe share and the failures it counts."""
        rule = self.tiers.rule()
        if isinstance(rule, AdaptiveParameters):
            return AdaptivePreset(rule, self.exploration.share)
        return OpenRouterPreset(rule, counts_lost=True) if self.charge.losses else rule


def load_settings(block: Mapping[str, object] | None, path: str = BLOCK) -> Settings:
    """Read the mapping under ``exacto_settings:``.

    Args:
        block: the mapping; None means defaults.
        path: the name of the block in messages.

    Raises:
        SettingsError: unknown keys or bad values; one line each with the key, the expectation, and the value where an
            enum, a number or a boolean is expected.
    """
    if block is None:
        return Settings()
    try:
        return Settings.model_validate(block)
    except ValidationError as error:
        fault = format_validation_error(error, Settings, path)
    # Raised outside the handler: the caught error contains the values.
    raise SettingsError(fault)
